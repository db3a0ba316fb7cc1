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
