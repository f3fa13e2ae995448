//! Ignore files and path patterns: what fits, what does not, and that no tree is entered for nothing.

use tug_dockerfile::{Ignore, Pattern, clean};

/// Without exceptions a path is out when one pattern fits it or a directory it is in: asked one by one.
fn fits_somewhere(patterns: &str, path: &str) -> bool {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]);
    let paths: Vec<&str> = ends.map(|end| &path[..end]).collect();
    patterns.lines().any(|line| {
        let pattern = clean(line.trim());
        let pattern =
            Pattern::deep(pattern.strip_prefix('/').unwrap_or(&pattern)).expect("a pattern");
        paths.iter().any(|path| pattern.matches(path))
    })
}

#[test]
fn one_pattern() {
    for (pattern, path, ignored) in [
        ("**", "file", true),
        ("**", "dir/file", true),
        ("**/", "dir/file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("dir/**", "dir", false),
        ("**/dir", "dir", true),
        ("**/dir", "dir/file", true),
        ("**/dir", "a/b/dir/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/**", "dir/dir2/dir3/file", true),
        ("**file", "file", true),
        ("**file", "dir/file", true),
        ("**file", "dir/xfile", true),
        ("**/file", "dir/xfile", false),
        ("**/file*", "dir/dir/file.txt", true),
        ("**/file*txt", "dir/dir/file.txt", true),
        ("**/file*.txt*", "dir/dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("**/**/*.txt2", "dir/dir/file.txt", false),
        ("**/*.txt", "file.txt", true),
        ("a**/*.txt", "a/file.txt", true),
        ("a**/*.txt", "a/dir/dir/file.txt", true),
        ("a**b", "a/x/b", true),
        ("a**b", "axb", false),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a/*.txt", "a/file.txt", true),
        ("a/*.txt**", "a/file.txt", true),
        ("a[b-d]e", "ae", false),
        ("a[b-d]e", "ace", true),
        ("a[b-d]e", "aae", false),
        ("a[^b-d]e", "aze", true),
        (".*", ".foo", true),
        (".*", "foo", false),
        ("abc.def", "abcdef", false),
        ("abc.def", "abcZdef", false),
        ("abc?def", "abcZdef", true),
        ("abc?def", "abcdef", false),
        ("a\\\\", "a\\", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("**/foo/bar", "foo/bar", true),
        ("**/foo/bar", "dir/dir2/foo/bar", true),
        ("abc/**", "abc/def/ghi", true),
        ("**/.foo", ".foo", true),
        ("**/.foo", "bar.foo", false),
        ("a(b)c/def", "a(b)c/def", true),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
        ("*c", "abc", true),
        ("a*", "ab/c", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("a?b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("a?b", "a/b", false),
        ("[\\]a]", "]", true),
        ("[x\\-]", "-", true),
        ("[x\\-]", "z", false),
        ("docs/", "docs/README.md", true),
        ("/docs", "docs/a", true),
        ("./docs", "docs/a", true),
        ("docs/../lib", "lib/x", true),
        ("*/temp*", "somedir/temporary.txt", true),
        ("*/*/temp*", "somedir/subdir/temporary.txt", true),
        ("*/temp*", "a/b/temp", false),
        ("node_modules", "a/node_modules", false),
        ("**/node_modules", "a/node_modules/x/y", true),
        ("*", "anything/at/all", true),
    ] {
        let ignore = Ignore::parse(pattern.as_bytes()).expect(pattern);
        assert_eq!(ignore.is_ignored(path), ignored, "{pattern} on {path}");
        assert_eq!(fits_somewhere(pattern, path), ignored, "{pattern} on {path}, one by one");
    }
}

#[test]
fn several_patterns() {
    for (file, path, ignored) in [
        ("*.go\n!a.go", "a.go", false),
        ("!a.go\n*.go", "a.go", true),
        ("docs\n!docs/README.md", "docs/README.md", false),
        ("docs\n!docs/README.md", "docs/other.md", true),
        ("docs/\n!docs/README.md", "docs/README.md", false),
        ("docs/*\n!docs/README.md", "docs/README.md", false),
        ("**\n!util/docker/web", "util/docker/web/foo", false),
        ("**\n!util/docker/web\nutil/docker/web/foo", "util/docker/web/foo", true),
        ("**\n!dist/*.whl", "dist/a-1.0.whl", false),
        ("*\n!src\nsrc/*.o", "src/a.o", true),
        ("*\n!src\nsrc/*.o", "src/a.c", false),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
        ("*.md\n!README*.md\nREADME-secret.md", "README-x.md", false),
        ("# a comment\n\n  a  \n", "a", true),
        (" # not a comment", "# not a comment", true),
        ("\u{feff}a\r\nb\r\n", "a", true),
        ("\u{feff}a\r\nb\r\n", "b", true),
        ("! /inverted\na\n!a/b", "a/b", false),
        ("a\n!a", "a/b/c", false),
        // The exception takes back what was ignored when its path came by, and nothing was.
        ("a/b\n!a", "a/b/c", true),
        ("", "a", false),
        (".", "a", false),
    ] {
        let ignore = Ignore::parse(file.as_bytes()).expect(file);
        assert_eq!(ignore.is_ignored(path), ignored, "{file:?} on {path}");
    }
}

#[test]
fn patterns_that_are_none_name_their_line() {
    for (file, line) in [
        ("a\n!\n", 2),
        ("a\n\n! ", 3),
        ("[", 1),
        ("a[", 1),
        ("[]a]", 1),
        ("[-]", 1),
        ("[x-]", 1),
        ("[^", 1),
        ("[^bc", 1),
        ("[a-b-c]", 1),
        ("a\\", 1),
    ] {
        assert_eq!(Ignore::parse(file.as_bytes()).expect_err(file).line, line, "{file:?}");
    }
    let error = Ignore::parse(b"ok\nb[").unwrap_err();
    assert_eq!(error.to_string(), "line 2: syntax error in pattern \"b[\"");
}

#[test]
fn ignored_trees_are_entered_only_for_an_exception() {
    for (file, dir, enter) in [
        ("node_modules", "node_modules", false),
        ("*\n!src", "node_modules", false),
        ("*\n!src/lib", "src", true),
        ("*\n!src/lib", "src/other", false),
        ("*\n!src/*.c", "src", true),
        ("*\n!src/*.c", "src/sub", false),
        ("*\n!src/**", "src/sub/deep", true),
        ("*\n!src/**/x", "src/sub/deep", true),
        ("*\n!src/**/x", "lib", false),
        ("*\n!**/keep", "anywhere/at/all", true),
        ("*\n!a*/b", "abc", true),
        ("*\n!a*/b", "xbc", false),
        ("*\n!a*/b", "abc/d", false),
        ("*\n!src", "src", false),
    ] {
        let ignore = Ignore::parse(file.as_bytes()).expect(file);
        assert_eq!(ignore.may_reenter(dir), enter, "{file:?} in {dir}");
    }
}

#[test]
fn sources_match_as_go_matches_paths() {
    for (pattern, path, fits) in [
        ("*.txt", "a.txt", true),
        ("*.txt", "a/b.txt", false),
        ("**/b.txt", "a/b.txt", true),
        ("**/b.txt", "a/c/b.txt", false),
        ("**", "a/b", false),
        ("dir/*", "dir/x", true),
        ("dir/*", "dir/x/y", false),
        ("a[[]b", "a[b", true),
        ("a\\[b", "a[b", true),
        ("home?.txt", "homes.txt", true),
        ("plain", "plain", true),
    ] {
        assert_eq!(
            Pattern::path(pattern).expect(pattern).matches(path),
            fits,
            "{pattern} on {path}"
        );
    }
    assert!(Pattern::path("plain/path").unwrap().is_plain());
    assert!(!Pattern::path("a\\*").unwrap().is_plain());
    assert!(Pattern::path("a/*/c").unwrap().may_match_below("a/b"));
    assert!(!Pattern::path("a/*/c").unwrap().may_match_below("a/b/c"));
    assert!(Pattern::path("[").is_err());
}

#[test]
fn paths_are_cleaned_as_go_does() {
    for (path, short) in [
        ("", "."),
        ("a//b/", "a/b"),
        ("./a/./b", "a/b"),
        ("a/../b", "b"),
        ("../a", "../a"),
        ("a/../..", ".."),
        ("/..", "/"),
        ("/a/../../b", "/b"),
        ("/", "/"),
        ("..//..", "../.."),
    ] {
        assert_eq!(clean(path), short, "{path}");
    }
}
