//! Good Dockerfiles: what the parser makes of each instruction, form and oddity.

use std::fmt::Write as _;
use std::time::Duration;

use tug_dockerfile::{
    CommandLine, Dockerfile, Healthcheck, Instruction, Run, RunNetwork, RunSecurity, Script, parse,
    parse_trigger,
};

fn read(text: &str) -> Dockerfile {
    match parse("Dockerfile", text.as_bytes()) {
        Ok(file) => file,
        Err(error) => panic!("{text}\n{error}\n{}", error.excerpt()),
    }
}

/// The instructions of `FROM a` and `text`, in a short notation.
fn dump(text: &str) -> String {
    let file = read(&format!("FROM a\n{text}"));
    let all: Vec<String> =
        file.stages[0].steps.iter().map(|step| short(&step.instruction)).collect();
    all.join(" ; ")
}

fn line(line: &CommandLine) -> String {
    match line {
        CommandLine::Shell(text) => format!("<{text}>"),
        CommandLine::Exec(words) => format!("{words:?}"),
    }
}

fn short(instruction: &Instruction) -> String {
    let mut out = instruction.name().to_lowercase();
    let mut add = |text: String| {
        let _ = write!(out, " {text}");
    };
    match instruction {
        Instruction::Run(run) => add(line(&run.command)),
        Instruction::Cmd(command) | Instruction::Entrypoint(command) => add(line(command)),
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            pairs.iter().for_each(|pair| add(format!("{}→{}", pair.key, pair.value)));
        }
        Instruction::Arg(args) => {
            args.iter().for_each(|arg| add(format!("{}→{:?}", arg.key, arg.value.as_deref())));
        }
        Instruction::Copy(copy) => {
            copy.paths.sources.iter().for_each(|source| add(source.value.clone()));
            copy.paths
                .inline
                .iter()
                .for_each(|file| add(format!("<<{}:{:?}", file.name, file.data)));
            add(format!("→ {}", copy.paths.destination.value));
        }
        Instruction::Add(copy) => {
            copy.paths.sources.iter().for_each(|source| add(source.value.clone()));
            add(format!("→ {}", copy.paths.destination.value));
        }
        Instruction::Expose(words) | Instruction::Volume(words) => {
            words.iter().for_each(|word| add(format!("[{}]", word.value)));
        }
        Instruction::User(word) | Instruction::Workdir(word) | Instruction::StopSignal(word) => {
            add(format!("[{}]", word.value));
        }
        Instruction::Maintainer(text) => add(format!("[{text}]")),
        Instruction::Shell(words) => add(format!("{words:?}")),
        Instruction::Onbuild(trigger) => add(format!("[{}]", trigger.expression)),
        Instruction::Healthcheck(Healthcheck::None) => add("none".into()),
        Instruction::Healthcheck(Healthcheck::Command(check)) => add(line(&check.command)),
    }
    out
}

#[test]
fn lines_comments_and_continuations() {
    for (text, expected) in [
        ("RUN a", "run <a>"),
        ("run a", "run <a>"),
        ("RuN a", "run <a>"),
        ("  RUN   a  ", "run <a>"),
        ("\tRUN\ta", "run <a>"),
        ("RUN a\r\nRUN b\r\n", "run <a> ; run <b>"),
        ("RUN a \\\n b", "run <a  b>"),
        ("RUN a\\\nb", "run <ab>"),
        ("RUN a \\\n\tb", "run <a \tb>"),
        ("RUN a \\  \n b", "run <a  b>"),
        ("RUN a \\\r\n b", "run <a  b>"),
        ("RUN a \\\n# comment\n b", "run <a  b>"),
        ("RUN a \\\n  # comment \\\n b", "run <a  b>"),
        ("RUN a \\\n\n\n b", "run <a  b>"),
        ("RUN a \\\n# c\n\n# d\n  && b \\\n  && c", "run <a   && b   && c>"),
        ("RUN a \\\\\nRUN b", "run <a \\\\> ; run <b>"),
        ("RUN a \\", "run <a>"),
        ("RUN a \\\n", "run <a>"),
        ("RU\\\nN a", "run <a>"),
        ("RUN \\\n a", "run <a>"),
        ("\\\nRUN a", "run <a>"),
        ("RUN echo # not a comment", "run <echo # not a comment>"),
        ("RUN echo \"#\" '#'", "run <echo \"#\" '#'>"),
        ("# RUN x\n#RUN y\n  # z\nRUN a", "run <a>"),
        ("\n\n   \nRUN a\n\n\n", "run <a>"),
        ("RUN a\u{a0}b", "run <a\u{a0}b>"),
        ("RUN", "run <>"),
        ("RUN echo 안녕 \\\n 하세요", "run <echo 안녕  하세요>"),
        // A directive's form below the top is a comment.
        ("# escape=`\nRUN a \\\n b", "run <a  b>"),
    ] {
        assert_eq!(dump(text), expected, "{text:?}");
    }
}

#[test]
fn forms_of_commands() {
    for (text, expected) in [
        ("CMD a b", "cmd <a b>"),
        ("CMD [\"a\", \"b\"]", "cmd [\"a\", \"b\"]"),
        ("CMD [ \"a\",\t\"b c\" ]  ", "cmd [\"a\", \"b c\"]"),
        ("CMD []", "cmd []"),
        ("CMD", "cmd <>"),
        ("CMD [a, b]", "cmd <[a, b]>"),
        ("CMD ['a', 'b']", "cmd <['a', 'b']>"),
        ("CMD [\"a\"", "cmd <[\"a\">"),
        ("CMD [\"a]", "cmd <[\"a]>"),
        ("CMD [\"a\",]", "cmd <[\"a\",]>"),
        ("CMD [\"a\"] b", "cmd <[\"a\"] b>"),
        ("CMD \"[\\\"a\\\"]\"", "cmd <\"[\\\"a\\\"]\">"),
        ("CMD [\"\\u0041\\n\"]", "cmd [\"A\\n\"]"),
        ("CMD [ \\\n \"a\", \\\n \"b\" ]", "cmd [\"a\", \"b\"]"),
        (
            "ENTRYPOINT [\"/bin/echo\"]\nCMD [\"Hello, Docker!\"]",
            "entrypoint [\"/bin/echo\"] ; cmd [\"Hello, Docker!\"]",
        ),
        ("ENTRYPOINT exec top -b", "entrypoint <exec top -b>"),
        ("ENTRYPOINT", "entrypoint <>"),
        ("RUN [\"a\", \"b\"]", "run [\"a\", \"b\"]"),
        ("RUN [ -f x ] && y", "run <[ -f x ] && y>"),
        ("SHELL [\"powershell\", \"-command\"]", "shell [\"powershell\", \"-command\"]"),
        ("HEALTHCHECK CMD curl -f x || exit 1", "healthcheck <curl -f x || exit 1>"),
        ("HEALTHCHECK --interval=5s cmd [\"a\"]", "healthcheck [\"a\"]"),
        ("HEALTHCHECK NONE", "healthcheck none"),
        ("healthcheck none", "healthcheck none"),
        ("ONBUILD RUN a  b", "onbuild [RUN a  b]"),
        ("onbuild   copy . /x", "onbuild [copy . /x]"),
        ("ONBUILD CMD [\"a\"]", "onbuild [CMD [\"a\"]]"),
        ("ONBUILD RUN a \\\n b", "onbuild [RUN a  b]"),
        ("ONBUILD RUN <<EOF\na\nEOF\nRUN b", "onbuild [RUN <<EOF\na\nEOF] ; run <b>"),
    ] {
        assert_eq!(dump(text), expected, "{text:?}");
    }
}

#[test]
fn names_values_and_words() {
    for (text, expected) in [
        ("ENV a=b", "env a→b"),
        ("ENV a=b c=d", "env a→b c→d"),
        ("ENV a b c", "env a→b c"),
        ("ENV a  b=c  d", "env a→b=c  d"),
        ("ENV a\tb", "env a→b"),
        ("ENV a=", "env a→"),
        ("ENV a==b", "env a→=b"),
        ("ENV a=\"b c\" d='e f' g=h\\ i", "env a→\"b c\" d→'e f' g→h\\ i"),
        ("ENV a=b \\\n    c=d", "env a→b c→d"),
        ("ENV a=b\\\\ c=d", "env a→b\\\\ c→d"),
        ("ENV a=$b c=${d}", "env a→$b c→${d}"),
        ("ENV \"a b\"=c", "env \"a b\"→c"),
        ("LABEL a=b com.example=\"x\"", "label a→b com.example→\"x\""),
        (
            "LABEL \"com.example.vendor\"=\"ACME Incorporated\"",
            "label \"com.example.vendor\"→\"ACME Incorporated\"",
        ),
        ("LABEL a b", "label a→b"),
        ("ARG a", "arg a→None"),
        ("ARG a=", "arg a→Some(\"\")"),
        ("ARG a=b c d=\"e f\"", "arg a→Some(\"b\") c→None d→Some(\"\\\"e f\\\"\")"),
        ("ARG a=b=c", "arg a→Some(\"b=c\")"),
        ("EXPOSE 80", "expose [80]"),
        ("EXPOSE 90/udp 80 $p", "expose [$p] [80] [90/udp]"),
        ("VOLUME /a /b", "volume [/a] [/b]"),
        ("VOLUME [\"/a b\", \" /c \"]", "volume [/a b] [/c]"),
        ("VOLUME [/a]", "volume [[/a]]"),
        ("USER a:b", "user [a:b]"),
        ("USER a b", "user [a b]"),
        ("WORKDIR /a b", "workdir [/a b]"),
        ("WORKDIR $x/y # z", "workdir [$x/y # z]"),
        ("STOPSIGNAL SIGTERM", "stopsignal [SIGTERM]"),
        ("STOPSIGNAL --x 9", "stopsignal [9]"),
        ("MAINTAINER A B <a@b.c>", "maintainer [A B <a@b.c>]"),
        ("COPY a b", "copy a → b"),
        ("COPY . .", "copy . → ."),
        ("COPY a b c/", "copy a b → c/"),
        ("COPY [\"a b\", \"c d\"]", "copy a b → c d"),
        ("COPY [a b", "copy [a → b"),
        ("COPY \"a b\" c", "copy \"a b\" → c"),
        ("ADD a https://x/y /z", "add a https://x/y → /z"),
        ("COPY -- --a b", "copy --a → b"),
    ] {
        assert_eq!(dump(text), expected, "{text:?}");
    }
}

#[test]
fn heredocs() {
    for (text, expected) in [
        ("COPY <<EOF /x\na\n b\nEOF", "copy <<EOF:\"a\\n b\\n\" → /x"),
        ("COPY <<-EOF /x\n\ta\n\t\tb\n\tEOF\nRUN c", "copy <<EOF:\"a\\nb\\n\" → /x ; run <c>"),
        ("COPY <<a <<b /x\n1\na\n2\nb\n", "copy <<a:\"1\\n\" <<b:\"2\\n\" → /x"),
        ("COPY f <<a g /x\n1\na\n", "copy f g <<a:\"1\\n\" → /x"),
        ("COPY <<EOF /x\nEOF", "copy <<EOF:\"\" → /x"),
        ("COPY <<EOF /x\r\na\r\nEOF\r\n", "copy <<EOF:\"a\\r\\n\" → /x"),
        (
            "COPY <<robots.txt <<humans.txt /w/\n# not a comment\nrobots.txt\n\\\nhumans.txt\n",
            "copy <<robots.txt:\"# not a comment\\n\" <<humans.txt:\"\\\\\\n\" → /w/",
        ),
        ("COPY <<EOF /x\n EOF\nEOF ", "copy"),
        ("RUN a <<< b", "run <a <<< b>"),
        ("RUN echo '<<EOF'", "run <echo '<<EOF'>"),
        ("RUN a << 1", "run"),
        ("CMD <<EOF", "cmd <<<EOF>"),
        ("RUN [\"a\", \"<<EOF\"]", "run [\"a\", \"<<EOF\"]"),
        ("RUN it's <<EOF", "run <it's <<EOF>"),
        ("RUN $((1<<2))", "run <$((1<<2))>"),
    ] {
        if ["copy", "run"].contains(&expected) {
            let error = parse("Dockerfile", format!("FROM a\n{text}").as_bytes()).expect_err(text);
            assert!(error.to_string().contains("unterminated heredoc"), "{text:?}: {error}");
            continue;
        }
        assert_eq!(dump(text), expected, "{text:?}");
    }
}

fn run(text: &str) -> Run {
    let file = read(&format!("FROM a\n{text}"));
    match &file.stages[0].steps[0].instruction {
        Instruction::Run(run) => run.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_run_executes() {
    for (text, script) in [
        ("RUN a b", Script::Shell("a b".into())),
        ("RUN [\"a\"]", Script::Exec(vec!["a".into()])),
        ("RUN <<EOF\na\nb\nEOF", Script::Shell("a\nb\n".into())),
        ("RUN <<-EOF\n\ta\n\tEOF", Script::Shell("a\n".into())),
        ("RUN <<EOF cat > x\na\nEOF", Script::Shell("<<EOF cat > x\na\nEOF".into())),
        ("RUN cat <<EOF > x\na\nEOF", Script::Shell("cat <<EOF > x\na\nEOF".into())),
        ("RUN python3 <<'EOF' && b\na\nEOF", Script::Shell("python3 <<'EOF' && b\na\nEOF".into())),
        ("RUN 3<<A cat <<B\n1\nA\n2\nB\n", Script::Shell("3<<A cat <<B\n1\nA\n2\nB".into())),
        (
            "RUN <<EOF\n#!/usr/bin/env python\nprint()\nEOF",
            Script::File { name: "EOF".into(), content: "#!/usr/bin/env python\nprint()\n".into() },
        ),
        ("RUN <<-\"E F\"\n\ta\n\tE F", Script::Shell("a\n".into())),
        ("RUN --network=none <<EOF\na\nEOF", Script::Shell("a\n".into())),
    ] {
        assert_eq!(run(text).script(), script, "{text:?}");
    }
    let heredocs = run("RUN 3<<-A cat <<\"B\" <<C'D'\nA\nB\nCD\n").heredocs;
    let facts: Vec<_> =
        heredocs.iter().map(|h| (h.name.as_str(), h.descriptor, h.expand, h.chomp)).collect();
    assert_eq!(facts, [("A", 3, true, true), ("B", 0, false, false), ("CD", 0, false, false)]);
}

#[test]
fn flags_of_run() {
    let run = run("RUN --mount=type=cache,target=/x --network=none --security=insecure \
                   --mount=from=b,source=/y,target=/z --device=vendor.com/gpu=all,required a");
    assert_eq!((run.network, run.security), (RunNetwork::None, RunSecurity::Insecure));
    assert_eq!(run.mounts.len(), 2);
    assert_eq!(run.mounts[1].from.as_deref(), Some("b"));
    assert_eq!(
        (run.devices[0].name.as_str(), run.devices[0].required),
        ("vendor.com/gpu=all", true)
    );
    assert_eq!(run.command, CommandLine::Shell("a".into()));
}

#[test]
fn flags_of_copy_and_add() {
    let file = read(
        "FROM a\nCOPY --from=b --chown=1:2 --chmod=u+x --link --parents=false --exclude=*.o --exclude=c d e\n\
         ADD --checksum=sha256:x --keep-git-dir=true --unpack=false --link=TRUE d e\n",
    );
    let Instruction::Copy(copy) = &file.stages[0].steps[0].instruction else { panic!() };
    assert_eq!(copy.from.as_ref().map(|from| from.value.as_str()), Some("b"));
    assert_eq!(copy.chown.as_ref().map(|chown| chown.value.as_str()), Some("1:2"));
    assert_eq!(copy.chmod.as_ref().map(|chmod| chmod.value.as_str()), Some("u+x"));
    assert_eq!((copy.link, copy.parents), (true, false));
    assert_eq!(copy.excludes, ["*.o", "c"]);
    let Instruction::Add(add) = &file.stages[0].steps[1].instruction else { panic!() };
    assert_eq!((add.keep_git_dir, add.unpack, add.link), (Some(true), Some(false), true));
    assert_eq!(add.checksum.as_ref().map(|sum| sum.value.as_str()), Some("sha256:x"));
}

#[test]
fn flags_of_healthcheck() {
    let file = read(
        "FROM a\nHEALTHCHECK --interval=5m --timeout=3s --start-period=1m30s --start-interval=500ms --retries=3 CMD a\n",
    );
    let Instruction::Healthcheck(Healthcheck::Command(check)) =
        &file.stages[0].steps[0].instruction
    else {
        panic!()
    };
    assert_eq!(check.interval, Duration::from_secs(300));
    assert_eq!(check.timeout, Duration::from_secs(3));
    assert_eq!(check.start_period, Duration::from_secs(90));
    assert_eq!(check.start_interval, Duration::from_millis(500));
    assert_eq!(check.retries, 3);
}

#[test]
fn stages() {
    let file = read(
        "ARG V=1 W\nARG X\n# base it all starts from\nFROM --platform=$BUILDPLATFORM image:$V AS Base\nRUN a\nFROM scratch\nfrom base as x-1._y\nCOPY --from=base /a /b\n",
    );
    assert_eq!(file.global_args.len(), 2);
    assert_eq!(file.global_args[0].args.len(), 2);
    let names: Vec<_> = file
        .stages
        .iter()
        .map(|stage| stage.name.as_ref().map(|name| name.value.as_str()))
        .collect();
    assert_eq!(names, [Some("base"), None, Some("x-1._y")]);
    assert_eq!(file.stages[0].base.value, "image:$V");
    assert_eq!(file.stages[0].platform.as_ref().map(|p| p.value.as_str()), Some("$BUILDPLATFORM"));
    assert_eq!(file.stages[0].doc.as_deref(), Some("it all starts from"));
    assert_eq!(file.stage("BASE").map(|stage| stage.index), Some(0));
    assert!(file.stage("nope").is_none());
}

#[test]
fn directives() {
    let file =
        read("# syntax=docker/dockerfile:1\n# escape=`\n# check=skip=all\nFROM a\nRUN b `\n c\n");
    assert_eq!(file.escape, '`');
    assert_eq!(
        file.directives.syntax.as_ref().map(|d| d.value.as_str()),
        Some("docker/dockerfile:1")
    );
    assert_eq!(file.directives.syntax.as_ref().map(|d| d.span.line()), Some(1));
    assert_eq!(file.directives.check.as_ref().map(|d| d.value.as_str()), Some("skip=all"));
    assert_eq!(short(&file.stages[0].steps[0].instruction), "run <b  c>");
    for (text, syntax, escape, check) in [
        ("#syntax=x\nFROM a", Some("x"), '\\', None),
        ("#  SYNTAX =  x y  \nFROM a", Some("x y"), '\\', None),
        ("#eScApE=`\nFROM a", None, '`', None),
        ("\u{feff}# escape = `\r\nFROM a", None, '`', None),
        ("\n# escape=`\nFROM a", None, '\\', None),
        ("# a comment\n# escape=`\nFROM a", None, '\\', None),
        ("# unknown=x\n# escape=`\nFROM a", None, '\\', None),
        ("FROM a\n# escape=`\n", None, '\\', None),
        (
            "#!/usr/bin/env docker\n# syntax=x\n# check=error=true\nFROM a",
            Some("x"),
            '\\',
            Some("error=true"),
        ),
        ("# check=a=b\n# syntax=x\nFROM a", Some("x"), '\\', Some("a=b")),
        ("# syntax=\nFROM a", None, '\\', None),
    ] {
        let file = read(text);
        let value =
            |d: &Option<tug_dockerfile::Spanned<String>>| d.as_ref().map(|d| d.value.clone());
        assert_eq!(value(&file.directives.syntax).as_deref(), syntax, "{text:?}");
        assert_eq!(value(&file.directives.check).as_deref(), check, "{text:?}");
        assert_eq!(file.escape, escape, "{text:?}");
    }
    for (text, syntax) in [
        ("// syntax=x\nanything", Some("x")),
        ("{\"syntax\": \"x\"}", Some("x")),
        ("#!/bin/x\n{\"syntax\": \"x\", \"y\": 1}", Some("x")),
        ("// hello\n// syntax=x", None),
        ("# syntax=x\n{}", Some("x")),
        ("FROM a", None),
    ] {
        assert_eq!(tug_dockerfile::detect_syntax(text.as_bytes()).as_deref(), syntax, "{text:?}");
    }
}

#[test]
fn places() {
    let file = read(
        "# c\nFROM a\n\n  RUN b \\\n    # no\n    && c\nCOPY --chown=x \\\n  one two\nCOPY <<E /x\n1\nE\n",
    );
    let steps = &file.stages[0].steps;
    let span = |at: usize| {
        let span = steps[at].head.span;
        (span.start.line, span.start.column, span.end.line, span.end.column)
    };
    assert_eq!(span(0), (4, 3, 6, 9));
    assert_eq!(span(1), (7, 1, 8, 10));
    assert_eq!(span(2), (9, 1, 11, 2));
    let Instruction::Copy(copy) = &steps[1].instruction else { panic!() };
    let place = |span: tug_dockerfile::Span| (span.start.line, span.start.column, span.end.column);
    assert_eq!(place(copy.paths.sources[0].span), (8, 3, 6));
    assert_eq!(place(copy.paths.destination.span), (8, 7, 10));
    assert_eq!(place(copy.chown.as_ref().unwrap().span), (7, 6, 15));
    assert_eq!(steps[0].head.code, "RUN b     && c");
    assert_eq!(steps[0].head.comments, Vec::<String>::new());
    assert_eq!(file.stages[0].head.comments, ["c"]);
    let wide = read("FROM a\nCOPY 안 녕\n");
    let Instruction::Copy(copy) = &wide.stages[0].steps[0].instruction else { panic!() };
    assert_eq!(place(copy.paths.destination.span), (2, 8, 9));
}

#[test]
fn triggers() {
    let step = parse_trigger("image a", "RUN <<EOF\na\nEOF").unwrap();
    assert!(
        matches!(&step.instruction, Instruction::Run(run) if run.script() == Script::Shell("a\n".into()))
    );
    assert!(parse_trigger("a", "COPY x y").is_ok());
    for (expression, message) in [
        ("RUN a\nRUN b", "onbuild trigger should be a single expression"),
        ("", "onbuild trigger should be a single expression"),
        ("RUNN a", "unknown instruction: RUNN (did you mean RUN?)"),
        ("FROM a", "FROM isn't allowed as an ONBUILD trigger"),
    ] {
        let error = parse_trigger("a", expression).expect_err(expression).to_string();
        assert!(error.contains(message), "{error}");
    }
}
