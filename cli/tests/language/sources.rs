//! The texts in the sources of the crate: the messages, which stand in `t!` or `message!`, and all others with the
//! place in which they stand. Tests are left out.
//!
//! The sources are read as tokens, so that a message is found wherever it stands, also within another macro or the
//! attribute of an error.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A text in a source.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// File and line, for who has to mend it.
    pub(crate) place: String,
    /// What it says.
    pub(crate) text: String,
    /// What it stands in.
    pub(crate) stands: Stands,
}

/// What a text stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    /// `t!`, with the names of the values that are given.
    Translated(Vec<String>),
    /// `message!`: its values are given elsewhere.
    Marked,
    /// The innermost call or macro, such as `usage` or `format!`, or the attribute, such as `#[error]`.
    In(String),
}

/// All texts of the crate.
pub(crate) fn texts() -> Vec<Text> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = Vec::new();
    for path in files(&root) {
        let source = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        texts.extend(texts_of(&source, &name));
    }
    assert!(texts.len() > 1000, "only {} texts found", texts.len());
    texts
}

/// The texts of one source.
pub(crate) fn texts_of(source: &str, name: &str) -> Vec<Text> {
    let tokens: TokenStream = source.parse().unwrap();
    let mut reader = Reader { name, texts: Vec::new() };
    reader.read(tokens, "");
    reader.texts
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

struct Reader<'a> {
    name: &'a str,
    texts: Vec<Text>,
}

impl Reader<'_> {
    /// Reads tokens that stand in the call, macro or attribute `within`.
    fn read(&mut self, tokens: TokenStream, within: &str) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let before = &tokens[..at];
            at += 1;
            match token {
                TokenTree::Literal(literal) => {
                    let place = format!("{}:{}", self.name, literal.span().start().line);
                    if let Some(text) = text_of(&literal.to_string()) {
                        let stands = Stands::In(within.to_owned());
                        self.texts.push(Text { place, text, stands });
                    }
                }
                TokenTree::Group(group) => {
                    let name = name_before(before).unwrap_or_default();
                    let first = group.stream().into_iter().next();
                    match (name.as_str(), first) {
                        ("#", _) => {
                            if is_for_tests(&group.stream()) {
                                at = end_of_item(&tokens, at);
                            } else {
                                self.attribute(group.stream());
                            }
                        }
                        ("t!" | "message!", Some(TokenTree::Literal(literal))) => {
                            let place = format!("{}:{}", self.name, literal.span().start().line);
                            let text = text_of(&literal.to_string()).unwrap();
                            let rest: TokenStream = group.stream().into_iter().skip(1).collect();
                            let stands = match name.as_str() {
                                "t!" => Stands::Translated(names_of_values(&rest)),
                                _ => Stands::Marked,
                            };
                            self.texts.push(Text { place, text, stands });
                            self.read(rest, "t!");
                        }
                        // Blocks, arrays and tuples within a call are a part of it.
                        ("", _) => self.read(group.stream(), within),
                        (name, _)
                            if group.delimiter() != Delimiter::Brace || name.ends_with('!') =>
                        {
                            self.read(group.stream(), name);
                        }
                        _ => self.read(group.stream(), within),
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }

    fn attribute(&mut self, tokens: TokenStream) {
        let name = tokens.clone().into_iter().next().map(|name| name.to_string());
        self.read(tokens, &format!("#[{}]", name.unwrap_or_default()));
        // `#[error("…")]`: the call within is the attribute itself.
        for text in &mut self.texts {
            if text.stands == Stands::In("error".to_owned()) {
                text.stands = Stands::In("#[error]".to_owned());
            }
        }
    }
}

/// The value of a literal that is a text.
fn text_of(literal: &str) -> Option<String> {
    if literal.starts_with('b') || literal.starts_with('c') {
        return None;
    }
    syn::parse_str::<syn::LitStr>(literal).ok().map(|text| text.value())
}

/// The call or macro whose arguments follow, or `#`.
fn name_before(tokens: &[TokenTree]) -> Option<String> {
    match tokens {
        [.., TokenTree::Punct(hash), TokenTree::Punct(bang)]
            if hash.as_char() == '#' && bang.as_char() == '!' =>
        {
            Some("#".to_owned())
        }
        [.., TokenTree::Ident(name), TokenTree::Punct(bang)] if bang.as_char() == '!' => {
            Some(format!("{name}!"))
        }
        [.., TokenTree::Punct(hash)] if hash.as_char() == '#' => Some("#".to_owned()),
        [.., TokenTree::Ident(name)] => Some(name.to_string()),
        _ => None,
    }
}

fn is_for_tests(attribute: &TokenStream) -> bool {
    attribute.to_string().replace(' ', "") == "cfg(test)"
}

/// Behind the item that begins there: its block, or its semicolon.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(mark) => mark.as_char() == ';',
        _ => false,
    };
    tokens[from..].iter().position(ends).map_or(tokens.len(), |at| from + at + 1)
}

/// The names in `, name = value, name = value`.
fn names_of_values(tokens: &TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut names = Vec::new();
    for window in tokens.windows(3) {
        if let [TokenTree::Punct(comma), TokenTree::Ident(name), TokenTree::Punct(equals)] = window
            && (comma.as_char(), equals.as_char()) == (',', '=')
        {
            names.push(name.to_string());
        }
    }
    names
}

#[test]
fn messages_are_found_wherever_they_stand() {
    let source = r##"
        #[derive(thiserror::Error)]
        enum E {
            #[error("{}", t!("no %{name}", name = _0))]
            None(String),
            #[error("prose {0}")]
            Prose(u8),
        }
        fn f() -> String {
            let s = match 1 { 1 => t!("one \
                                       two"), _ => message!("%{number} files") };
            output.line(&format!("{}: {}", t!("a", b = g("inner")), "outer"));
            json!({ "key": 1 })
        }
        #[cfg(test)]
        mod tests { fn g() { t!("not this") } }
        fn h() { Failure::usage("after") }
    "##;
    let found: Vec<_> =
        texts_of(source, "x").into_iter().map(|text| (text.text, text.stands)).collect();
    let within = |name: &str| Stands::In(name.to_owned());
    let values =
        |names: &[&str]| Stands::Translated(names.iter().map(|&name| name.to_owned()).collect());
    let expected = [
        ("{}", within("#[error]")),
        ("no %{name}", values(&["name"])),
        ("prose {0}", within("#[error]")),
        ("one two", values(&[])),
        ("%{number} files", Stands::Marked),
        ("{}: {}", within("format!")),
        ("a", values(&["b"])),
        ("inner", within("g")),
        ("outer", within("format!")),
        ("key", within("json!")),
        ("after", within("usage")),
    ];
    assert_eq!(found, expected.map(|(text, stands)| (text.to_owned(), stands)));
}
