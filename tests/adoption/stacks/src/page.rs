//! The tables of migration pages: each name on them is one that was seen.

/// What stands in backquotes in the first two cells of each row of a page's first table.
pub fn rows(page: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let table = page.lines().skip_while(|line| !line.starts_with("| ")).take_while(|line| line.starts_with('|'));
    let rows = table.skip(2).map(|row| {
        let mut cells = row.trim_matches('|').split(" | ");
        (quoted(cells.next()), quoted(cells.next()))
    });
    rows.collect()
}

fn quoted(cell: Option<&str>) -> Vec<&str> {
    cell.unwrap_or_default().split('`').skip(1).step_by(2).collect()
}

/// Whether a page of metrics has this: `name`, `name{label,label}`, `label="value"` or the beginning of one, before `…`.
pub fn metrics_have(metrics: &str, wanted: &str) -> bool {
    let wanted = wanted.split('…').next().unwrap_or_default();
    match wanted.split_once('{') {
        Some((name, labels)) => metrics
            .lines()
            .filter(|line| line.starts_with(name))
            .any(|line| labels.trim_end_matches('}').split(',').all(|label| line.contains(&format!("{label}=\"")))),
        None if wanted.contains('=') => metrics.contains(wanted),
        None => metrics.lines().any(|line| line.starts_with(wanted)),
    }
}

/// Whether lines of JSON have this: a level, a text, `text field=value` or `span{field field}`.
pub fn lines_have(lines: &str, wanted: &str) -> bool {
    let has_field = |name: &str| lines.contains(&format!("\"{name}\":"));
    if ["debug", "info", "warn", "error"].contains(&wanted) {
        return lines.contains(&format!("\"level\":\"{}\"", wanted.to_uppercase()));
    }
    if let Some((name, fields)) = wanted.split_once('{').filter(|(name, _)| !name.contains(' ')) {
        let mut fields = fields.trim_end_matches('}').split(' ');
        return lines.contains(&format!("\"name\":\"{name}\"")) && fields.all(has_field);
    }
    match wanted.split_once('=') {
        Some((before, _value)) => {
            let (text, field) = before.rsplit_once(' ').unwrap_or(("", before));
            lines.contains(text) && has_field(field)
        }
        None => lines.contains(wanted),
    }
}

/// The rows of a page's first table, each of which a driver observes.
///
/// A driver repeats both cells of a row behind what it has asserted of it: a row that is new, gone or worded anew fails the driver,
/// until someone has looked at what is asserted.
pub struct Rows {
    page: Vec<(&'static str, &'static str)>,
    observed: Vec<(&'static str, &'static str)>,
}

impl Rows {
    pub fn of(page: &'static str) -> Self {
        let table = page.lines().skip_while(|line| !line.starts_with("| ")).take_while(|line| line.starts_with('|'));
        let cells = |row: &'static str| {
            row.trim_matches('|').split_once(" | ").map(|(left, right)| (left.trim(), right.trim()))
        };
        Self { page: table.skip(2).filter_map(cells).collect(), observed: Vec::new() }
    }

    /// What this row says was just seen, on both sides.
    pub fn observed(&mut self, left: &'static str, right: &'static str) {
        self.observed.push((left, right));
    }

    /// Whether the page has the rows that were observed, and no others.
    pub fn end(self) {
        let of = |those: &[(&'static str, &'static str)], others: &[_]| -> Vec<_> {
            those.iter().filter(|row| !others.contains(*row)).copied().collect()
        };
        let (unseen, unwritten) = (of(&self.page, &self.observed), of(&self.observed, &self.page));
        assert!(unseen.is_empty(), "rows of the page that were not observed: {unseen:#?}");
        assert!(unwritten.is_empty(), "observed, but not on the page: {unwritten:#?}");
        assert_eq!(self.page.len(), self.observed.len(), "a row is there, or observed, once");
    }
}
