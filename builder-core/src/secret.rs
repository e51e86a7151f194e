//! Secrets: a type that cannot be printed, and the one place where they are taken out of what is shown.

use std::sync::{Arc, RwLock};

pub use secrecy::{ExposeSecret, SecretString};

/// What a secret is shown as, as in Packer.
pub const MASK: &str = "<sensitive>";

/// The secrets of a process: every event passes through here before anyone sees it.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<RwLock<Vec<String>>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor(..)")
    }
}

impl Redactor {
    /// Hides a text from now on. A text of several lines is hidden line by line too; nothing shorter
    /// than three bytes is hidden, as it would blank out ordinary output.
    pub fn add(&self, secret: &str) {
        let mut secrets = self.secrets.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for text in std::iter::once(secret).chain(secret.lines().map(str::trim)) {
            if text.len() >= 3 && !secrets.iter().any(|s| s == text) {
                secrets.push(text.to_owned());
            }
        }
        // The longest first: a secret that holds another must not be half masked.
        secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
    }

    /// The text with every secret masked.
    pub fn redact(&self, text: &str) -> String {
        let secrets = self.secrets.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        secrets.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.as_str()) { text.replace(secret, MASK) } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redacts_the_longest_first_and_line_by_line() {
        let redactor = Redactor::default();
        redactor.add("pass");
        redactor.add("password123");
        redactor.add("line one\n  line two\n}");
        let rows = [
            ("x password123 y", "x <sensitive> y"),
            ("my pass", "my <sensitive>"),
            ("say: line two", "say: <sensitive>"),
            ("}", "}"),
        ];
        for (text, expected) in rows {
            assert_eq!(redactor.redact(text), expected);
        }
    }
}
