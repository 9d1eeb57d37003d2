//! In which language people are spoken to: English, or Simplified Chinese where the environment asks for it.
//!
//! Every text for people stands in the sources in English, within `t!` or [`message!`], and is itself the key of
//! its translations in `cli/locales`. What has none comes out in English; `cli/tests/language` lets none be missing.
//! `run` and `admin` choose the language at their start, before anything is said, and the shell for each line.
//! What programs read does not depend on it: with `--json` all is English.

mod command_line;
mod fill;
mod help;
pub(crate) mod system;

use std::env;

use clap::CommandFactory as _;

pub(crate) use command_line::complaint;
pub use help::paragraphs_of;
pub(crate) use help::{in_language, matches};

/// Marks a text that is looked up where it is told, since a constant cannot be translated.
macro_rules! message {
    ($text:literal) => {
        $text
    };
}
pub(crate) use message;

/// The variables that POSIX has for the language of messages; the first one that is not empty decides.
const VARIABLES: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];

/// A language that people can be spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English, that of the sources.
    English,
    /// Chinese in simplified characters.
    Chinese,
}

impl Language {
    /// What the environment asks for.
    #[must_use]
    pub fn of_environment() -> Self {
        let variable = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self::of_locales(VARIABLES.into_iter().filter_map(variable))
    }

    fn of_locales(mut locales: impl Iterator<Item = String>) -> Self {
        locales.find(|locale| !locale.is_empty()).map_or(Self::English, |it| Self::of_locale(&it))
    }

    /// The language of a locale such as `zh_CN.UTF-8`. English is also what stands for all that is not spoken, and for
    /// an encoding of characters other than UTF-8, in which Chinese would be unreadable.
    fn of_locale(locale: &str) -> Self {
        let locale = locale.to_ascii_lowercase();
        let (locale, _modifier) = locale.split_once('@').unwrap_or((&locale, ""));
        let (locale, encoding) = locale.split_once('.').unwrap_or((locale, "utf-8"));
        let mut parts = locale.split(['_', '-']);
        let is_chinese = parts.next() == Some("zh") && matches!(encoding, "utf-8" | "utf8");
        // Of script and territory the first one tells: zh_Hans_HK is simplified, zh_HK is not.
        match (is_chinese, parts.next()) {
            (true, None | Some("hans" | "cn" | "sg")) => Self::Chinese,
            (true, Some(_)) | (false, _) => Self::English,
        }
    }

    /// How the tables of translations call it.
    fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }
}

/// From now on speaks the language of the environment, or English where a program listens (`--json`).
pub(crate) fn speak(json: bool) {
    let language = if json { Language::English } else { Language::of_environment() };
    rust_i18n::set_locale(language.tag());
}

/// What is spoken now.
pub(crate) fn spoken() -> Language {
    if *rust_i18n::locale() == *Language::Chinese.tag() {
        Language::Chinese
    } else {
        Language::English
    }
}

/// A text in the language that is spoken, if it is in the tables.
pub(crate) fn translated(text: &str) -> Option<String> {
    crate::_rust_i18n_try_translate(&rust_i18n::locale(), text).map(|text| text.into_owned())
}

/// All translations into a language, by their messages; for tests of the tables.
#[must_use]
pub fn table(tag: &str) -> Vec<(String, String)> {
    let messages = crate::_rust_i18n_backend().messages_for_locale(tag).unwrap_or_default();
    messages.into_iter().map(|(message, text)| (message.into_owned(), text.into_owned())).collect()
}

/// The command lines whose help people read: `berth`, `berthctl`, and a line of the shell; for tests of the tables.
#[must_use]
pub fn command_lines() -> [clap::Command; 3] {
    let mut all = [
        crate::args::parser(true),
        crate::admin::Arguments::command(),
        crate::shell::line_parser(),
    ];
    all.iter_mut().for_each(clap::Command::build);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_means_chinese_where_its_characters_are_simplified() {
        let chinese = [
            "zh",
            "zh_CN",
            "zh_CN.UTF-8",
            "zh_CN.utf8",
            "zh_SG.UTF-8",
            "zh-Hans",
            "zh_Hans_HK.UTF-8",
            "ZH_cn@pinyin",
        ];
        for locale in chinese {
            assert_eq!(Language::of_locale(locale), Language::Chinese, "{locale}");
        }
        let english = [
            "C",
            "POSIX",
            "C.UTF-8",
            "en_US.UTF-8",
            "de_DE.UTF-8",
            "zh_TW.UTF-8",
            "zh_HK",
            "zh_Hant",
            "zh_Hant_CN",
            "zhx",
            "",
            ".",
            "_",
            "zh_CN.GB18030",
            "zh_CN.GBK",
            "\u{4e2d}",
        ];
        for locale in english {
            assert_eq!(Language::of_locale(locale), Language::English, "{locale}");
        }
    }

    #[test]
    fn the_first_variable_that_is_not_empty_decides() {
        let language =
            |locales: [&str; 3]| Language::of_locales(locales.map(str::to_owned).into_iter());
        assert_eq!(language(["", "", ""]), Language::English);
        assert_eq!(language(["", "", "zh_CN.UTF-8"]), Language::Chinese);
        assert_eq!(language(["C", "zh_CN.UTF-8", "zh_CN.UTF-8"]), Language::English);
        assert_eq!(language(["", "zh_CN.UTF-8", "en_US.UTF-8"]), Language::Chinese);
        assert_eq!(language(["zh_CN.UTF-8", "C", "C"]), Language::Chinese);
    }

    #[test]
    fn a_text_without_a_translation_is_told_as_it_stands() {
        let name = "a.b: c%d%{name}";
        let told = rust_i18n::t!("nobody translates: 100% of %{name}. It has dots.", name = name);
        assert_eq!(told, "nobody translates: 100% of a.b: c%d%{name}. It has dots.");
    }
}
