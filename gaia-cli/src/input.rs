//! Reads templates and variables files: from disk or standard input, whole, up to a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use builder_core::source::{Diagnostic, Source};

/// The longest template or variables file. Real ones are a thousand times shorter.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The name of standard input.
pub(crate) const STDIN: &str = "-";

/// Reads a template; `-` is standard input.
pub(crate) fn template(path: &Path, stdin: &mut dyn Read) -> Result<Source, Diagnostic> {
    let name = path.display().to_string();
    if name == STDIN {
        return text(name, stdin);
    }
    if path.is_dir() || [".pkr.hcl", ".pkr.json"].iter().any(|end| name.ends_with(end)) {
        let what = if path.is_dir() { "is a directory" } else { "is an HCL2 template" };
        return Err(Diagnostic::error(format!("{name} {what}: gaia reads Packer's legacy JSON templates"))
            .help("give the path of a JSON template; HCL2 is not supported yet"));
    }
    file(path)
}

/// Reads a file.
pub(crate) fn file(path: &Path) -> Result<Source, Diagnostic> {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(mut file) => text(name, &mut file),
        Err(e) => Err(Diagnostic::error(format!("cannot read {name}: {e}"))),
    }
}

fn text(name: String, reader: &mut dyn Read) -> Result<Source, Diagnostic> {
    let mut bytes = Vec::new();
    if let Err(e) = reader.take(LARGEST + 1).read_to_end(&mut bytes) {
        return Err(Diagnostic::error(format!("cannot read {name}: {e}")));
    }
    if bytes.len() as u64 > LARGEST {
        return Err(Diagnostic::error(format!("{name} is longer than {LARGEST} bytes, the most that is read")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name, text }),
        Err(e) => {
            let (at, bytes) = (e.utf8_error().valid_up_to(), e.as_bytes());
            let line = bytes[..at].split(|b| *b == b'\n').count();
            let message = format!("{name}:{line}: byte 0x{:02x} at offset {at} is not UTF-8 text", bytes[at]);
            Err(Diagnostic::error(message).help("save the file as UTF-8"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_says_which_file_and_why() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("latin1.json"), b"{\n \"a\": \"\xe9\"}").expect("a file");
        std::fs::write(path("t.pkr.hcl"), "").expect("a file");
        File::create(path("huge.json")).and_then(|f| f.set_len(LARGEST + 1)).expect("a sparse file");
        let rows = [
            ("none.json", "cannot read FOLDER/none.json: No such file"),
            ("latin1.json", "FOLDER/latin1.json:2: byte 0xe9 at offset 9 is not UTF-8 text"),
            ("t.pkr.hcl", "FOLDER/t.pkr.hcl is an HCL2 template: gaia reads Packer's legacy JSON templates"),
            ("", "FOLDER/ is a directory"),
            ("huge.json", "FOLDER/huge.json is longer than 16777216 bytes"),
        ];
        for (name, expected) in rows {
            let error = template(&path(name), &mut std::io::empty()).expect_err(name).message;
            let error = error.replace(&folder.path().display().to_string(), "FOLDER");
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_dash_is_standard_input() {
        let source = template(Path::new("-"), &mut "{}".as_bytes()).expect("it is there");
        assert_eq!((source.name.as_str(), source.text.as_str()), ("-", "{}"));
    }
}
