//! The output that users of the gaia-hub template know, and how to compare with it: ids and times are masked, nothing else.

/// The output that a build of examples/gaia-hub must have, masked; `Flatcar` in place of the CoreOS of its day.
pub fn sample() -> String {
    include_str!("sample.txt").to_owned()
}

/// The text with everything masked that differs from run to run: ids of resources, the temporary names, the time of the build and the
/// random path of the script.
pub fn masked(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(mask_line).collect();
    lines.push(String::new());
    lines.join("\n")
}

fn mask_line(line: &str) -> String {
    if let Some((before, _)) = line.split_once("Provisioning with shell script: ") {
        return format!("{before}Provisioning with shell script: <path of the script>");
    }
    if let Some((before, _)) = line.split_once("Adding tag: \"BuildTime\": ") {
        return format!("{before}Adding tag: \"BuildTime\": <time>");
    }
    let mut masked = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, word) = rest.split_at(at);
        masked.push_str(before);
        let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        masked.push_str(&mask_word(word));
        rest = after;
    }
    masked.push_str(rest);
    masked
}

fn mask_word(word: &str) -> String {
    for prefix in ["ami-", "snap-", "i-", "vol-", "sg-", "subnet-", "vpc-", "gaia_"] {
        if let Some(id) = word.strip_prefix(prefix)
            && id.len() >= 8
            && id.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return format!("{prefix}xxx");
        }
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_masked() {
        let rows = [
            ("Found Image ID: ami-048789452aff936df", "Found Image ID: ami-xxx\n"),
            ("instance (i-0123456789abcdef0) to", "instance (i-xxx) to\n"),
            ("keypair: gaia_01jabcdefghjkmnpqrstvwxyz0", "keypair: gaia_xxx\n"),
            ("us-west-2: ami-04793ff666176c1f3", "us-west-2: ami-xxx\n"),
            ("Name: Blockstack.Gaia.Hub_1549643256", "Name: Blockstack.Gaia.Hub_1549643256\n"),
            ("   x: Adding tag: \"BuildTime\": \"1549643829\"", "   x: Adding tag: \"BuildTime\": <time>\n"),
        ];
        for (line, expected) in rows {
            assert_eq!(masked(line), expected);
        }
    }
}
