//! Text set into lines as wide as the screen has columns for it. clap breaks lines at spaces alone, of which Chinese
//! has few, and takes each character for one column.

use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter, fill};

/// Breaks lines that are wider than `width` columns where a reader expects it, and never within a word.
pub(super) fn filled(text: &str, width: usize) -> String {
    let options = Options::new(width.max(20))
        .word_separator(WordSeparator::Custom(words))
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(false);
    let line = |line: &str| {
        // What is indented is laid out already: tables, and lines that can be typed.
        if line.starts_with(' ') { line.to_owned() } else { fill(line, &options) }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Where Unicode lets a line end, but for the places within what is typed, such as behind the slash of a path: there
/// a line ends only beside a character that is not ASCII.
fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for word in WordSeparator::UnicodeBreakProperties.find_words(line) {
        at += word.word.len() + word.whitespace.len();
        let is_within = word.whitespace.is_empty()
            && word.word.ends_with(|it: char| it.is_ascii())
            && line[at..].starts_with(|it: char| it.is_ascii());
        if !is_within {
            words.push(Word::from(&line[start..at]));
            start = at;
        }
    }
    Box::new(words.into_iter())
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    #[test]
    fn chinese_is_broken_between_characters_and_before_no_punctuation() {
        let text = "把文件发送到主目录，被中断的 put 重复执行时会接着进行。把文件发送到主目录，--retry-for 也一样。";
        for width in 20..60 {
            let lines = filled(text, width);
            for line in lines.lines() {
                assert!(line.width() <= width, "{width}: {line}");
                assert!(
                    !line.starts_with(['，', '。', '-', ' ']) || line.starts_with("--"),
                    "{line}"
                );
            }
            assert_eq!(lines.replace(['\n', ' '], ""), text.replace(' ', ""));
            assert!(lines.contains("--retry-for"), "an option is one word: {lines}");
        }
    }

    #[test]
    fn what_is_typed_is_one_word() {
        let text =
            "用法 `put -r photos` 创建 /photos，它在 a/b/c.txt 中，参见 https://example.org/a/b";
        for width in 20..40 {
            let lines = filled(text, width);
            for word in ["/photos", "a/b/c.txt", "https://example.org/a/b"] {
                assert!(lines.contains(word), "{width}: {lines}");
            }
        }
    }

    #[test]
    fn what_is_indented_stays_as_it_is() {
        let table = format!("路径：\n  {}", "长".repeat(90));
        assert_eq!(filled(&table, 40), table);
    }
}
