//! What a program found: Markdown to read, figures for the report.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    fs, io,
    path::{Path, PathBuf},
};

/// One program's part of the results.
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    text: String,
    figures: String,
}

impl Part {
    /// Begins a part; its files will have this name.
    pub fn new(name: &'static str) -> Self {
        Self { name, text: String::new(), figures: String::new() }
    }

    /// Adds a line of text.
    pub fn line(&mut self, line: impl Display) {
        let _infallible = writeln!(self.text, "{line}");
    }

    /// Adds a table's head. The first column is text, the others are numbers.
    pub fn head(&mut self, columns: &[&str]) {
        self.line(head(columns));
    }

    /// Adds a table's row.
    pub fn row(&mut self, cells: &[String]) {
        self.line(row(cells));
    }

    /// Keeps a figure for the report: `row` as in the tables, `what` as the report asks for it.
    pub fn figure(&mut self, row: &str, what: &str, value: f64) {
        let _infallible = writeln!(self.figures, "{row}\t{what}\t{value}");
    }

    /// The Markdown so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes `results/<name>.md` and `results/<name>.tsv`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn save(&self) -> io::Result<()> {
        fs::create_dir_all(results())?;
        fs::write(results().join(self.name).with_extension("md"), &self.text)?;
        fs::write(results().join(self.name).with_extension("tsv"), &self.figures)
    }

    /// Prints the part, and saves it when `--results` is among the arguments.
    ///
    /// # Errors
    /// When it cannot be saved.
    #[expect(clippy::print_stdout, reason = "it is what the programs are for")]
    pub fn finish(&self) -> io::Result<()> {
        print!("{}", self.text);
        if wants_results() { self.save() } else { Ok(()) }
    }
}

/// Whether the program was asked to write files.
pub fn wants_results() -> bool {
    std::env::args().any(|argument| argument == RESULTS)
}

/// The arguments without `--results`.
pub fn arguments() -> Vec<String> {
    std::env::args().skip(1).filter(|argument| argument != RESULTS).collect()
}

const RESULTS: &str = "--results";

/// How many rounds: what follows `--rounds`, else the program's own number.
pub fn rounds(usual: usize) -> usize {
    value_of("--rounds").unwrap_or(usual)
}

/// The number that follows an option.
pub fn value_of<T: std::str::FromStr>(option: &str) -> Option<T> {
    arguments().iter().skip_while(|argument| *argument != option).nth(1)?.parse().ok()
}

/// Where results lie.
pub fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

/// The figures that other programs saved, by row and by what they are.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<(String, String), f64>);

impl Figures {
    /// Reads one program's figures; none where it did not run.
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(results().join(name).with_extension("tsv")).unwrap_or_default();
        let figure = |line: &str| {
            let mut parts = line.split('\t').map(str::to_owned);
            Some(((parts.next()?, parts.next()?), parts.next()?.parse().ok()?))
        };
        Self(text.lines().filter_map(figure).collect())
    }

    /// Whether the program has saved none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One figure.
    pub fn get(&self, row: &str, what: &str) -> Option<f64> {
        self.0.get(&(row.to_owned(), what.to_owned())).copied()
    }

    /// All figures of one row, in the order of what they are.
    pub fn of<'a>(&'a self, row: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter(move |((name, _), _)| name == row).map(|((_, what), value)| (what.as_str(), *value))
    }

    /// How much more one row has than another.
    pub fn over(&self, row: &str, base: &str, what: &str) -> Option<f64> {
        Some(self.get(row, what)? - self.get(base, what)?)
    }
}

/// A table's head with its rule.
pub fn head(columns: &[&str]) -> String {
    let mut text = format!("| {} |\n|---|", columns.join(" | "));
    for _ in columns.iter().skip(1) {
        text.push_str("--:|");
    }
    text
}

/// A table's row.
pub fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// A number with its thousands apart, rounded to `digits` behind the point.
pub fn number(value: f64, digits: usize) -> String {
    let text = format!("{:.*}", digits, value.abs());
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && whole.len().saturating_sub(at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(rest) = rest {
        let _infallible = write!(grouped, ".{rest}");
    }
    let is_zero = text.chars().all(|character| matches!(character, '0' | '.'));
    if value < 0.0 && !is_zero { format!("-{grouped}") } else { grouped }
}

/// As [`number`], with a sign before what is more than nothing.
pub fn signed(value: f64, digits: usize) -> String {
    let text = number(value, digits);
    if text.starts_with('-') || text.chars().all(|character| matches!(character, '0' | '.')) {
        text
    } else {
        format!("+{text}")
    }
}

/// The value in the middle. Sorts.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{head, median, number, signed};

    #[test]
    fn thousands_are_apart_and_the_sign_stays_in_front() {
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(-1_234.56, 1), "-1,234.6");
        assert_eq!(number(999.0, 0), "999");
        assert_eq!(number(-0.04, 1), "0.0");
        assert_eq!(signed(12_000.0, 0), "+12,000");
        assert_eq!(signed(0.0, 1), "0.0");
    }

    #[test]
    fn the_median_is_the_value_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn the_first_column_is_text_and_the_others_are_numbers() {
        assert_eq!(head(&["stack", "ns"]), "| stack | ns |\n|---|--:|");
    }
}
