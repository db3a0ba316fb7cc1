//! Reads series from what `/metrics` shows.

/// The sum of the series of this name that have these labels. `None`: no such series.
pub(super) fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (shown, value) =
            if let Some(rest) = rest.strip_prefix('{') { read_labels(rest)? } else { (Vec::new(), rest) };
        let value = value.strip_prefix(' ')?.split(' ').next()?.parse::<f64>().ok()?;
        let has = |(name, value): &(&str, &str)| shown.iter().any(|(label, shown)| label == name && shown == value);
        labels.iter().all(has).then_some(value)
    });
    values.reduce(|sum, value| sum + value)
}

/// The labels up to the brace, and what follows it.
fn read_labels(mut text: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = rest.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => value.push(match chars.next()? {
                    'n' => '\n',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        labels.push((name, value));
        text = chars.as_str().trim_start_matches(',');
    }
}
