//! Word expansion: one line per case, `word | result`, and which words are errors.

use std::collections::BTreeMap;

use tug_dockerfile::Expander;

fn variables() -> BTreeMap<String, String> {
    [
        ("PWD", "/home"),
        ("SHELL", "bash"),
        ("NULL", ""),
        ("K", "한국어"),
        ("FILE", "archive.tar.gz"),
        ("PATHS", "/usr/local/bin:/usr/bin"),
        ("SPACE", "abc  def"),
        ("EDGES", "  ab c "),
        ("STAR", "a*b"),
        ("SLASH", "a/b/c"),
        ("BRACE", "a}b"),
        ("LINES", "a\nb"),
        ("TAG", "v1.2.3"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

#[test]
fn one_word() {
    for (word, expected) in [
        // Quotes and escapes.
        ("hello", "hello"),
        ("", ""),
        ("he'll'o", "hello"),
        ("he\\'llo", "he'llo"),
        ("abc\\tdef", "abctdef"),
        ("\"abc\\tdef\"", "abc\\tdef"),
        ("\"abc\\\\tdef\"", "abc\\tdef"),
        ("'abc\\tdef'", "abc\\tdef"),
        ("hello\\", "hello"),
        ("hello\\\\", "hello\\"),
        ("\"hel'lo\"", "hel'lo"),
        ("'hello\\'", "hello\\"),
        ("\"''\"", "''"),
        ("'\"x\"'", "\"x\""),
        ("a b  c", "a b  c"),
        ("<", "<"),
        ("<< EOF", "<< EOF"),
        // Names.
        ("$.", "$."),
        ("$", "$"),
        ("a$", "a$"),
        ("he$1x", "hex"),
        ("he$.x", "he$.x"),
        ("he$pwd.", "he."),
        ("he$PWD", "he/home"),
        ("he\\$PWD", "he$PWD"),
        ("he\\\\$PWD", "he\\/home"),
        ("\"he\\$PWD\"", "he$PWD"),
        ("'he$PWD'", "he$PWD"),
        ("\"$PWD\"", "/home"),
        ("$PWD$SHELL", "/homebash"),
        ("$K-안녕", "한국어-안녕"),
        ("$999aaa", "aaa"),
        ("$@@@", "@@"),
        ("$$x", "x"),
        ("$0", ""),
        ("${1:-b}", "b"),
        ("${@:-b}", "b"),
        ("${#}", ""),
        ("${-:-b}", "b"),
        // Braces.
        ("he${PWD}", "he/home"),
        ("he${hi}xx", "hexx"),
        ("\\${}aaa", "${}aaa"),
        ("${PWD}}", "/home}"),
        // Defaults.
        ("${X:-000}", "000"),
        ("${NULL:-000}", "000"),
        ("${NULL-000}", ""),
        ("${X-000}", "000"),
        ("${PWD:-000}", "/home"),
        ("${X:-$PWD}", "/home"),
        ("${X:-${Y:-yyy}}z", "yyyz"),
        ("${X:-a b}", "a b"),
        ("${X:-\"a}b\"}", "a}b"),
        ("${X:-'$PWD'}", "$PWD"),
        ("${X:-\\$PWD:}x", "$PWD:x"),
        ("${X:-\\${PWD}z}x", "${PWDz}x"),
        ("${X:-bbb {foo}", "bbb {foo"),
        ("${X:-}", ""),
        // Alternatives.
        ("${X:+000}", ""),
        ("${NULL:+000}", ""),
        ("${NULL+000}", "000"),
        ("${PWD:+000}", "000"),
        ("${PWD:+${PWD}:}xx", "/home:xx"),
        ("${PWD+$SHELL}", "bash"),
        // Required.
        ("${PWD?}", "/home"),
        ("${PWD:?no}", "/home"),
        ("${NULL?}", ""),
        // Patterns from the front and from the back.
        ("${FILE#*.}", "tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE%.*}", "archive.tar"),
        ("${FILE%%.*}", "archive"),
        ("${FILE#zzz}", "archive.tar.gz"),
        ("${FILE#archive}", ".tar.gz"),
        ("${FILE%gz}", "archive.tar."),
        ("${FILE#?}", "rchive.tar.gz"),
        ("${FILE%?}", "archive.tar.g"),
        ("${FILE##*}", ""),
        ("${FILE#*}", "archive.tar.gz"),
        ("${TAG#v}", "1.2.3"),
        ("${TAG%.*}", "v1.2"),
        ("${PATHS%%:*}", "/usr/local/bin"),
        ("${STAR#a\\*}", "b"),
        ("${STAR%\\*b}", "a"),
        ("${BRACE#a\\}}", "b"),
        ("${X#a}", ""),
        ("${FILE#$X}", "archive.tar.gz"),
        ("${PWD#${SHELL}}", "/home"),
        ("${LINES#*b}", "a\nb"),
        // Replacement.
        ("${FILE/./-}", "archive-tar.gz"),
        ("${FILE//./-}", "archive-tar-gz"),
        ("${FILE/a/}", "rchive.tar.gz"),
        ("${FILE//a/}", "rchive.tr.gz"),
        ("${FILE/a*r/X}", "X.gz"),
        ("${FILE//?/x}", "xxxxxxxxxxxxxx"),
        ("${SLASH/\\//-}", "a-b/c"),
        ("${SLASH//\\//-}", "a-b-c"),
        ("${SLASH//b/$SHELL}", "a/bash/c"),
        ("${X/a/b}", ""),
        ("${TAG//[0-9]/x}", "v1.2.3"),
        ("${TAG///-}", "-v-1-.-2-.-3-"),
    ] {
        let expanded = Expander::new('\\').expand(word, &variables());
        assert_eq!(expanded.map(|expanded| expanded.text), Ok(expected.to_owned()), "{word}");
    }
}

#[test]
fn words_that_are_errors() {
    for (word, message) in [
        ("he'llo", "unexpected end of statement while looking for matching single-quote"),
        ("\"hello", "unexpected end of statement while looking for matching double-quote"),
        ("\"hello\\\"", "unexpected end of statement while looking for matching double-quote"),
        ("${}", "syntax error: bad substitution"),
        ("${{a}", "syntax error: bad substitution"),
        ("${:-b}", "syntax error: bad substitution"),
        ("${", "syntax error: missing '}'"),
        ("${a", "syntax error: missing '}'"),
        ("${a:", "syntax error: missing '}'"),
        ("${a:-b", "syntax error: missing '}'"),
        ("${a/b", "syntax error: missing '/' in ${}"),
        ("${a/b/c", "syntax error: missing '}'"),
        ("${.}", "unsupported modifier (.) in substitution"),
        ("${a!}", "unsupported modifier (!) in substitution"),
        ("${a:=b}", "unsupported modifier (:=) in substitution"),
        ("${a:YYY}", "unsupported modifier (:Y) in substitution"),
        ("${a:#b}", "unsupported modifier (:#) in substitution"),
        ("${a?}", "a: is not allowed to be unset"),
        ("${a:?}", "a: is not allowed to be unset"),
        ("${NULL:?}", "NULL: is not allowed to be empty"),
        ("${a?set it with --build-arg a=1}", "a: set it with --build-arg a=1"),
        ("${FILE#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'"),
    ] {
        let error = Expander::new('\\').expand(word, &variables()).expect_err(word);
        assert_eq!(error.to_string(), format!("failed to process {word:?}: {message}"));
    }
    let deep = "${a:-".repeat(5000);
    assert!(Expander::new('\\').expand(&deep, &variables()).is_err());
}

#[test]
fn several_words() {
    for (word, expected) in [
        ("hello there  ", vec!["hello", "there"]),
        ("hello\\ there", vec!["hello there"]),
        ("hello${SPACE}bye", vec!["helloabc", "defbye"]),
        ("hello\"${SPACE}\"bye", vec!["helloabc  defbye"]),
        ("hello${EDGES}def", vec!["hello", "ab", "c", "def"]),
        ("hello\"${EDGES}\" def", vec!["hello  ab c ", "def"]),
        ("${EDGES}", vec!["ab", "c"]),
        ("80${X:-80} 90", vec!["8080", "90"]),
        ("$X", vec![]),
        ("\"\"", vec![]),
        ("hello'$there'", vec!["hello$there"]),
        ("cat << EOF > /x", vec!["cat", "<< EOF", ">", "/x"]),
    ] {
        let expanded = Expander::new('\\').expand(word, &variables()).expect(word);
        assert_eq!(expanded.words, expected, "{word}");
    }
}

#[test]
fn the_backtick_escapes_where_it_is_told_to() {
    for (word, expected) in
        [("C:\\a`$PWD", "C:\\a$PWD"), ("\"`\"x\"", "\"x"), ("a`", "a"), ("a\\b", "a\\b")]
    {
        assert_eq!(Expander::new('`').expand(word, &variables()).unwrap().text, expected, "{word}");
    }
}

#[test]
fn what_was_asked_for_is_told() {
    let expanded =
        Expander::new('\\').expand("$PWD ${X:-$SHELL} ${Y+a} '$K'", &variables()).unwrap();
    assert_eq!(expanded.used.iter().collect::<Vec<_>>(), ["PWD", "SHELL"]);
    assert_eq!(expanded.unset.iter().collect::<Vec<_>>(), ["X", "Y"]);
}

#[test]
fn raw_modes_keep_what_is_written() {
    let raw = Expander { raw_quotes: true, keep_unset: true, ..Expander::new('\\') };
    for (word, expected) in [
        ("echo \"$PWD\" '$X'", "echo \"/home\" '$X'"),
        ("$X ${X} ${X:-a} ${X#a} ${X/a/b} ${X//a/b}", "$X ${X} ${X:-a} ${X#a} ${X/a/b} ${X//a/b}"),
    ] {
        assert_eq!(raw.expand(word, &variables()).unwrap().text, expected, "{word}");
    }
    let no_quotes = Expander { ignore_quotes: true, ..Expander::new('\\') };
    assert_eq!(
        no_quotes.expand("it's \"$PWD\"\n\\$x", &variables()).unwrap().text,
        "it's \"/home\"\n$x"
    );
}
