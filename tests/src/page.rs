//! A metrics page, read back.

use std::collections::BTreeMap;

/// What a scrape in text format 0.0.4 says.
#[derive(Clone, Debug)]
pub struct Page {
    text: String,
    samples: Vec<Sample>,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// `http_requests_total`.
    pub name: String,
    /// By name.
    pub labels: BTreeMap<String, String>,
    /// What it counts.
    pub value: f64,
}

impl Sample {
    /// The label's value, or nothing.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl Page {
    /// Reads a page.
    ///
    /// # Panics
    /// When a line is invalid.
    pub fn parse(text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line:?}"))).collect();
        Self { text, samples }
    }

    /// The page as it came.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every sample of this name that has these labels, among others.
    pub fn find<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        let has = |sample: &Sample| labels.iter().all(|(name, value)| sample.label(name) == *value);
        self.samples.iter().filter(move |sample| sample.name == name && has(sample))
    }

    /// The sum over [`find`](Self::find).
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map(|sample| sample.value).sum()
    }

    /// How many series there are, of all names. A histogram's buckets are series, as Prometheus counts.
    pub fn series(&self) -> usize {
        self.samples.len()
    }
}

fn sample(line: &str) -> Option<Sample> {
    let name_ends = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at_checked(name_ends)?;
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, value) = rest.split_once("=\"")?;
            let (value, after) = quoted(value)?;
            labels.insert(label.to_owned(), value);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    Some(Sample { name: name.to_owned(), labels, value: rest.trim().parse().ok()? })
}

/// Reads to the closing quote; returns the rest after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((place, char)) = chars.next() {
        match char {
            '"' => return Some((value, text.get(place + 1..)?)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_its_escapes() {
        let page = Page::parse(
            "# HELP a b\na_total 1\na{b=\"c\\\"d\\\\e\\nf\",g=\"},\"} 2.5e3\n\nb_bucket{le=\"+Inf\"} +Inf\n",
        );
        assert_eq!(page.series(), 3);
        assert_eq!(page.find("a", &[("g", "},")]).next().unwrap().label("b"), "c\"d\\e\nf");
        assert!((page.sum("a", &[]) - 2500.0).abs() < f64::EPSILON);
        assert!(page.sum("b_bucket", &[("le", "+Inf")]).is_infinite());
    }
}
