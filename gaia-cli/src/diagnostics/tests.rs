use super::*;

const PLAIN: Look = Look { colour: false, width: None };

fn source(name: &str, text: &str) -> Arc<Source> {
    Arc::new(Source { name: name.to_owned(), text: text.to_owned() })
}

fn span(source: &Arc<Source>, part: &str) -> Span {
    let start = source.text.find(part).expect("the part is in the text");
    Span { source: source.clone(), start, end: start + part.len() }
}

fn plain(diagnostic: Diagnostic) -> String {
    render(&Diagnostics::from(diagnostic), PLAIN)
}

#[test]
fn a_caret_stands_under_the_place() {
    let source = source("t.json", "{\n  \"builders\": [],\n  \"ami_nam\": 1\n}\n");
    let error =
        Diagnostic::error("unknown key `ami_nam`").at(span(&source, "\"ami_nam\"")).help("did you mean `ami_name`?");
    let expected = "\
error: unknown key `ami_nam`
 --> t.json:3:3
  |
3 |   \"ami_nam\": 1
  |   ^^^^^^^^^
  |
  = help: did you mean `ami_name`?";
    assert_eq!(plain(error), expected);
}

#[test]
fn a_second_place_has_its_label() {
    let source = source("vars.json", "{\n  \"a\": \"1\",\n  \"b\": \"\",\n  \"a\": \"2\"\n}\n");
    let at = source.text.rfind("\"a\"").expect("it is repeated");
    let second = Span { source: source.clone(), start: at, end: at + 3 };
    let warning =
        Diagnostic::warning("`a` is repeated: the last wins").at(second).label(span(&source, "\"a\""), "the first");
    let expected = "\
warning: `a` is repeated: the last wins
 --> vars.json:4:3
  |
2 |   \"a\": \"1\",
  |   --- the first
3 |   \"b\": \"\",
4 |   \"a\": \"2\"
  |   ^^^";
    assert_eq!(plain(warning), expected);
}

#[test]
fn places_in_two_files_and_in_none() {
    let (template, vars) = (source("t.json", "{\"a\": null}"), source("v.json", "{\"A\": \"x\"}"));
    let error =
        Diagnostic::error("variable not set: a").at(span(&template, "\"a\"")).label(span(&vars, "\"A\""), "near");
    let expected = "\
error: variable not set: a
 --> t.json:1:2
  |
1 | {\"a\": null}
  |  ^^^
  |
 ::: v.json:1:2
  |
1 | {\"A\": \"x\"}
  |  --- near";
    assert_eq!(plain(error), expected);
    assert_eq!(
        plain(Diagnostic::error("no place\nbut two lines").help("do it")),
        "error: no place\n       but two lines\n |\n = help: do it"
    );
}

#[test]
fn tabs_wide_characters_and_control_characters_keep_the_caret_in_place() {
    let source = source("t.json", "\t{\"雪\": \"\x1b[31m\", \"key\": 1}");
    let text = plain(Diagnostic::error("bad \x1b[31m text").at(span(&source, "\"key\"")));
    assert!(!text.contains('\x1b'), "{text:?}");
    assert!(text.contains("t.json:1:17"), "{text}");
    let lines: Vec<_> = text.lines().collect();
    let caret = lines[4].find('^').expect("a caret");
    // The snow takes two columns and one character; control characters are shown as one.
    let column: usize =
        lines[3].split("\"key\"").next().expect("the key").chars().map(|c| 1 + usize::from(c == '雪')).sum();
    assert_eq!(caret, column, "{text}");
}

#[test]
fn a_long_line_is_cut_to_the_width() {
    let source = source(
        "t.json",
        &format!("{{\"long\": \"{}\", \"bad\": 1, \"more\": \"{}\"}}", "x".repeat(5000), "y".repeat(5000)),
    );
    let error = || Diagnostic::error("bad").at(span(&source, "\"bad\""));
    for width in [1, 40, 80, 500] {
        let text = render(&error().into(), Look { colour: false, width: Some(width) });
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(longest <= width.clamp(NARROWEST, WIDEST) + 10, "{width}: {longest}\n{text}");
        assert!(text.contains("t.json:1:5014") && text.contains("\"bad\"") && text.contains("^^^^^"), "{text}");
    }
}

#[test]
fn spans_outside_of_the_text_or_inside_of_a_character_do_no_harm() {
    let text = "é\n{\n}";
    let source = source("t.json", text);
    for start in 0..text.len() + 3 {
        for end in 0..text.len() + 3 {
            let text = plain(Diagnostic::error("bad").at(Span { source: source.clone(), start, end }));
            assert!(text.starts_with("error: bad\n --> t.json:"), "{start}..{end}: {text}");
        }
    }
}

#[test]
fn colour_is_for_terminals_and_there_is_an_end_to_it() {
    let many = Diagnostics((0..MOST + 7).map(|n| Diagnostic::error(format!("number {n}"))).collect());
    let text = render(&many, PLAIN);
    assert!(text.ends_with("error: number 49\n\n… and 7 more"), "{text}");
    assert!(!text.contains('\x1b'));
    assert!(render(&many, Look { colour: true, width: Some(80) }).contains("\x1b["));
}
