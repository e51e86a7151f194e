//! Version numbers as `min_packer_version` writes them: `1.6`, `v1.16.0`, `1.7.0-beta.1`.

use std::cmp::Ordering;

/// Whether a template that asks for this version can be run by a program of that version; `None` if it is no version.
pub(crate) fn satisfied(asked: &str, actual: &str) -> Option<bool> {
    Some(compare(&parse(actual)?, &parse(asked)?) != Ordering::Less)
}

struct Version<'a> {
    numbers: Vec<u64>,
    /// After the `-`; empty for a release.
    pre: &'a str,
}

fn parse(text: &str) -> Option<Version<'_>> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(version, _build)| version);
    let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
    let numbers = numbers.split('.').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    Some(Version { numbers, pre })
}

fn compare(left: &Version<'_>, right: &Version<'_>) -> Ordering {
    let length = left.numbers.len().max(right.numbers.len());
    let padded =
        |v: &Version<'_>| v.numbers.iter().copied().chain(std::iter::repeat(0)).take(length).collect::<Vec<_>>();
    // A release comes after its pre-releases.
    padded(left)
        .cmp(&padded(right))
        .then_with(|| left.pre.is_empty().cmp(&right.pre.is_empty()))
        .then_with(|| left.pre.cmp(right.pre))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let rows = [
            ("1.16.0", Some(true)),
            ("1.16", Some(true)),
            ("v1.6.6", Some(true)),
            ("1.9.4", Some(true)),
            ("1.16.0-beta.1", Some(true)),
            ("1.16.0.1", Some(false)),
            ("1.16.1", Some(false)),
            ("2", Some(false)),
            ("1.17.0-beta", Some(false)),
            ("abc", None),
            ("", None),
            ("1..2", None),
        ];
        for (asked, expected) in rows {
            assert_eq!(satisfied(asked, "1.16.0"), expected, "{asked}");
        }
    }
}
