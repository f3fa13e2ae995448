//! Scopes and evaluation: which value a variable has where, and what an instruction comes to.

use std::collections::BTreeMap;

use tug_dockerfile::{
    Dockerfile, Evaluated, GlobalScope, Inputs, Instruction, MountKind, Origin, Platform, Sharing,
    StageGraph, StageScope, parse, parse_trigger, proxy_variables,
};

fn inputs(build_args: &[(&str, &str)]) -> Inputs {
    Inputs {
        build_args: build_args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        build_platform: "linux/amd64".parse().unwrap(),
        target_platform: "linux/arm/v7".parse().unwrap(),
        target_stage: None,
    }
}

fn read(text: &str) -> Dockerfile {
    parse("Dockerfile", text.as_bytes()).expect(text)
}

/// The last stage's instructions evaluated, each stage standing on the ones above where it says so.
fn evaluated(text: &str, inputs: &Inputs) -> Result<Vec<Evaluated>, String> {
    let file = read(text);
    let global = GlobalScope::new(&file, inputs).map_err(|error| error.to_string())?;
    let graph = StageGraph::new(&file, &global).map_err(|error| error.to_string())?;
    let mut scopes: Vec<StageScope<'_>> = Vec::new();
    let mut last = Vec::new();
    for stage in &file.stages {
        let mut scope = match graph.base(stage.index) {
            Origin::Stage(index) => scopes[*index].on_stage(),
            _ => StageScope::on_image(&global, ["FROM_BASE=base", "PATH=/bin"]),
        };
        last = Vec::new();
        for step in &stage.steps {
            last.push(scope.evaluate(step).map_err(|error| error.to_string())?);
        }
        scopes.push(scope);
    }
    Ok(last)
}

fn last(text: &str, inputs: &Inputs) -> Evaluated {
    evaluated(text, inputs).expect(text).pop().expect("an instruction")
}

#[test]
fn values_of_variables() {
    let given = [("GIVEN", "out"), ("D", "o"), ("HTTP_PROXY", "http://p")];
    for (text, value) in [
        // The base's environment and ENV.
        ("FROM a\nWORKDIR $FROM_BASE", "base"),
        ("FROM a\nENV X=1\nWORKDIR $X", "1"),
        ("FROM a\nENV X=1\nENV X=2 Y=$X\nWORKDIR $Y", "1"),
        ("FROM a\nENV X=\"a b\" Y='$X'\nWORKDIR $X$Y", "a b$X"),
        ("FROM a\nENV X a  b \nWORKDIR $X", "a  b"),
        ("FROM a\nENV X=a\\ b\nWORKDIR \"$X\"", "a b"),
        ("FROM a\nENV A$FROM_BASE=1\nWORKDIR $Abase", "1"),
        // ARG.
        ("FROM a\nARG X=1\nWORKDIR $X", "1"),
        ("FROM a\nARG X\nWORKDIR x$X", "x"),
        ("FROM a\nARG GIVEN\nWORKDIR $GIVEN", "out"),
        ("FROM a\nARG GIVEN=in\nWORKDIR $GIVEN", "out"),
        ("FROM a\nWORKDIR x$GIVEN", "x"),
        ("FROM a\nARG X=1 Y=${X}2\nWORKDIR $Y", "12"),
        ("FROM a\nARG X=\"a b\"\nWORKDIR $X", "a b"),
        ("FROM a\nARG X=1\nENV X=2\nWORKDIR $X", "2"),
        ("FROM a\nARG X=1\nENV X=${X}3\nWORKDIR $X", "13"),
        ("FROM a\nARG D=${Z?no}\nWORKDIR $D", "o"),
        // Global ARG.
        ("ARG X=1\nFROM a\nWORKDIR x$X", "x"),
        ("ARG X=1\nFROM a\nARG X\nWORKDIR $X", "1"),
        ("ARG X=1\nFROM a\nARG X=2\nWORKDIR $X", "2"),
        ("ARG X=1\nARG Y=$X-$X\nFROM a\nARG Y\nWORKDIR $Y", "1-1"),
        ("ARG GIVEN=1\nFROM a\nARG GIVEN\nWORKDIR $GIVEN", "out"),
        // Platforms.
        ("FROM a\nWORKDIR x$TARGETARCH", "x"),
        ("FROM a\nARG TARGETARCH\nARG TARGETVARIANT\nWORKDIR $TARGETARCH$TARGETVARIANT", "armv7"),
        ("FROM a\nARG BUILDPLATFORM\nWORKDIR $BUILDPLATFORM", "linux/amd64"),
        (
            "FROM a\nARG TARGETPLATFORM TARGETOS\nWORKDIR $TARGETPLATFORM:$TARGETOS",
            "linux/arm/v7:linux",
        ),
        ("FROM a AS last\nARG TARGETSTAGE\nWORKDIR $TARGETSTAGE", "last"),
        ("FROM a\nARG TARGETSTAGE\nWORKDIR $TARGETSTAGE", "default"),
        // Proxies are no variables unless declared.
        ("FROM a\nWORKDIR x$HTTP_PROXY", "x"),
        ("FROM a\nARG HTTP_PROXY\nWORKDIR $HTTP_PROXY", "http://p"),
        // Stages.
        ("FROM a AS b\nENV X=1\nFROM b\nWORKDIR $X", "1"),
        ("FROM a AS b\nARG X=1\nFROM b\nWORKDIR $X", "1"),
        ("FROM a AS b\nARG X=1\nFROM a\nWORKDIR x$X", "x"),
        ("FROM a\nENV X=abc\nWORKDIR ${X#a}/${X%c}/${X/b/-}", "bc/ab/a-c"),
        ("# escape=`\nFROM a\nENV X=1\nWORKDIR C:\\`$X\\$X", "C:\\$X\\1"),
    ] {
        let Instruction::Workdir(path) = last(text, &inputs(&given)).instruction else {
            panic!("{text}")
        };
        assert_eq!(path.value, value, "{text}");
    }
}

#[test]
fn each_instruction_expands_what_it_should() {
    let head = "FROM a\nENV X=v S=\"a b\" P=80\n";
    let steps = |text: &str| last(&format!("{head}{text}"), &inputs(&[]));
    let Instruction::Copy(copy) =
        steps("COPY --chown=$X --chmod=$P --exclude=$X $X \"$S\" ${X}d/").instruction
    else {
        panic!()
    };
    let sources: Vec<_> = copy.paths.sources.iter().map(|source| source.value.as_str()).collect();
    assert_eq!((sources, copy.paths.destination.value.as_str()), (vec!["v", "a b"], "vd/"));
    assert_eq!((copy.chown.unwrap().value, copy.chmod.unwrap().value), ("v".into(), "80".into()));
    assert_eq!(copy.excludes, ["$X"]);

    let Instruction::Add(add) = steps("ADD --checksum=$X https://$X/ /").instruction else {
        panic!()
    };
    assert_eq!(add.checksum.unwrap().value, "v");
    assert_eq!(add.paths.sources[0].value, "https://v/");

    let Instruction::Copy(copy) =
        steps("COPY <<E <<'F' /x\n\"$X\" it's \\$X\nE\n$X\nF\n").instruction
    else {
        panic!()
    };
    assert_eq!(
        (copy.paths.inline[0].data.as_str(), copy.paths.inline[1].data.as_str()),
        ("\"v\" it's $X\n", "$X\n")
    );

    let Instruction::Label(pairs) = steps("LABEL $X=\"$S\" b='$X'").instruction else { panic!() };
    assert_eq!(
        (pairs[0].key.as_str(), pairs[0].value.as_str(), pairs[1].value.as_str()),
        ("v", "a b", "$X")
    );

    let Instruction::User(user) = steps("USER ${X}:$P").instruction else { panic!() };
    assert_eq!(user.value, "v:80");
    let Instruction::Volume(volumes) = steps("VOLUME /$X /b").instruction else { panic!() };
    assert_eq!(volumes[0].value, "/v");
    let Instruction::StopSignal(signal) = steps("STOPSIGNAL $P").instruction else { panic!() };
    assert_eq!(signal.value, "80");

    let ports: Vec<_> =
        steps("EXPOSE $P/udp ${Q:-90}").ports.into_iter().flat_map(|port| port.ports).collect();
    assert_eq!(ports, ["80/udp", "90/tcp"]);

    // These are the shell's, or nobody's.
    for text in [
        "CMD $X",
        "ENTRYPOINT [\"$X\"]",
        "RUN $X",
        "SHELL [\"$X\"]",
        "HEALTHCHECK CMD $X",
        "ONBUILD RUN $X",
    ] {
        let file = read(&format!("{head}{text}"));
        assert_eq!(steps(text).instruction, file.stages[0].steps[1].instruction, "{text}");
    }
}

#[test]
fn mounts() {
    let mount = |flag: &str| {
        let text = format!("FROM a\nENV X=v R=true\nRUN --mount={flag} b");
        evaluated(&text, &inputs(&[])).map(|mut steps| steps.pop().unwrap().mounts.remove(0))
    };
    let bind = mount("target=/$X,source=s,from=b").unwrap();
    assert_eq!(
        (bind.kind, bind.target.as_str(), bind.source.as_str()),
        (MountKind::Bind, "/v", "s")
    );
    assert!(bind.read_only && bind.from.as_deref() == Some("b"));
    assert!(!mount("type=bind,target=/x,rw").unwrap().read_only);
    assert!(!mount("type=bind,target=/x,rw=$R").unwrap().read_only);
    assert!(mount("type=cache,target=/x,ro").unwrap().read_only);
    let cache = mount("type=cache,id=$X,dst=/x,sharing=locked,mode=0750,uid=1,gid=2").unwrap();
    assert_eq!(
        (cache.id.as_deref(), cache.sharing, cache.read_only),
        (Some("v"), Some(Sharing::Locked), false)
    );
    assert_eq!((cache.mode, cache.uid, cache.gid), (Some(0o750), Some(1), Some(2)));
    assert_eq!(mount("type=tmpfs,target=/x,size=64m").unwrap().size, Some(64 << 20));
    assert_eq!(mount("type=tmpfs,target=/x,size=1.5GiB").unwrap().size, Some(3 << 29));
    let secret = mount("type=secret,id=s,env=TOKEN,required").unwrap();
    assert!(secret.required && secret.env.as_deref() == Some("TOKEN"));
    assert_eq!(mount("type=ssh").unwrap().kind, MountKind::Ssh);
    assert_eq!(mount("'\"target=/a,b\",source=c'").unwrap().target, "/a,b");
    for (flag, message) in [
        ("type=bnd", "unsupported mount type \"bnd\" (did you mean bind?)"),
        ("targt=/x", "unexpected key 'targt' in 'targt=/x' (did you mean target?)"),
        ("x", "invalid field 'x' must be a key=value pair"),
        ("type=cache,sharing=lockd", "unsupported sharing value \"lockd\" (did you mean locked?)"),
        ("type=bind,size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=bind,required", "unexpected key 'required' for mount type 'bind'"),
        ("type=bind,target=/x,mode=1", "mode not allowed for \"bind\" type mounts"),
        ("type=tmpfs,target=/x,uid=1", "uid not allowed for \"tmpfs\" type mounts"),
        ("type=tmpfs,size=big", "invalid value for size: big"),
        ("type=cache,mode=9", "invalid value 9 for mode"),
        ("type=cache,target=/x,ro=perhaps", "invalid value for ro: perhaps"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,source=a,id=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,sharing=shared", "secret mount should not define sharing"),
        ("type=bind,sharing=shared", "invalid cache sharing set for bind mount"),
        ("target=/${Y?set it}", "failed to process \"/${Y?set it}\": Y: set it"),
    ] {
        let flag_ = flag.replace(' ', "\\ ");
        assert_eq!(mount(&flag_).unwrap_err(), message, "{flag}");
    }
}

#[test]
fn what_is_told_of_variables() {
    let step = last("FROM a\nARG D\nENV X=1\nCOPY $X ${Y:-$Z} $D /", &inputs(&[]));
    assert_eq!(step.used.iter().collect::<Vec<_>>(), ["X"]);
    let undefined: Vec<_> =
        step.undefined.iter().map(|name| (name.value.as_str(), name.span.start.column)).collect();
    assert_eq!(undefined, [("Y", 9), ("Z", 14)]);
    let step = last("FROM a\nENV FOOBAR=1\nCOPY $FOOBAR ${FOO} .", &inputs(&[]));
    assert_eq!(
        (step.undefined[0].value.as_str(), step.undefined[0].span.start.column),
        ("FOO", 14)
    );
}

#[test]
fn titles_of_progress_lines() {
    for (step, title) in [
        ("copy $X  .", "COPY v  ."),
        ("WORKDIR \"$X\"", "WORKDIR v"),
        ("RUN echo \"$X\" $Y '$X'", "RUN echo \"v\" $Y '$X'"),
        ("RUN <<EOF\na\nb\nEOF", "RUN <<EOF (a...)"),
        ("RUN <<EOF\na\nEOF", "RUN <<EOF (a)"),
        (
            "RUN --mount=type=secret,id=s,env=X echo $X",
            "RUN --mount=type=secret,id=s,env=X echo ****",
        ),
        ("RUN it's", "RUN it's"),
        ("USER a", "USER a"),
    ] {
        assert_eq!(last(&format!("FROM a\nENV X=v\n{step}"), &inputs(&[])).title, title, "{step}");
    }
}

#[test]
fn from_lines() {
    let header = |text: &str, given: &[(&str, &str)]| {
        let file = read(text);
        let global = GlobalScope::new(&file, &inputs(given)).unwrap();
        global.header(&file.stages[0]).map_err(|error| error.to_string())
    };
    let base = |text: &str, given: &[(&str, &str)]| header(text, given).map(|header| header.base);
    assert_eq!(base("ARG V=1\nFROM a:$V", &[]).unwrap(), "a:1");
    assert_eq!(base("ARG V=1\nFROM a:$V", &[("V", "2")]).unwrap(), "a:2");
    assert_eq!(base("FROM a:${V:-3}", &[("V", "2")]).unwrap(), "a:3");
    assert_eq!(base("FROM a-$TARGETARCH", &[]).unwrap(), "a-arm");
    assert_eq!(base("ARG V\nFROM $V", &[]).unwrap_err(), "base name ($V) should not be blank");
    assert_eq!(
        base("FROM ${V?give}", &[]).unwrap_err(),
        "failed to process \"${V?give}\": V: give"
    );
    let platform =
        |text: &str| header(text, &[]).map(|header| header.platform.unwrap().to_string());
    assert_eq!(platform("FROM --platform=$BUILDPLATFORM a").unwrap(), "linux/amd64");
    assert_eq!(platform("FROM --platform=arm64 a").unwrap(), "linux/arm64");
    assert_eq!(
        platform("FROM --platform=$BULIDPLATFORM a").unwrap_err(),
        "empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)"
    );
    assert!(
        platform("FROM --platform=a/b/c/d a")
            .unwrap_err()
            .starts_with("failed to parse platform a/b/c/d: ")
    );
}

#[test]
fn the_stage_graph() {
    let file = read(
        "FROM a AS one\nFROM one AS two\nRUN x\nFROM scratch AS three\nCOPY --from=TWO /x /\nCOPY --from=0 /x /\n\
         COPY --from=image:1 /x /\nRUN --mount=from=one,target=/y z\nFROM unused AS four\nFROM three\n",
    );
    let global = GlobalScope::new(&file, &inputs(&[])).unwrap();
    let graph = StageGraph::new(&file, &global).unwrap();
    assert_eq!(graph.base(0), &Origin::Outside("a".into()));
    assert_eq!(graph.base(1), &Origin::Stage(0));
    assert_eq!(graph.base(2), &Origin::Scratch);
    let sources: Vec<_> =
        file.stages[2].steps.iter().flat_map(|step| graph.sources(&file, step).unwrap()).collect();
    assert_eq!(
        sources,
        [Origin::Stage(1), Origin::Stage(0), Origin::Outside("image:1".into()), Origin::Stage(0)]
    );
    let target = graph.target(&file, None).unwrap();
    assert_eq!(graph.needed(&file, target).unwrap().into_iter().collect::<Vec<_>>(), [0, 1, 2, 4]);
    assert_eq!(graph.target(&file, Some("Two")).unwrap(), 1);
    assert_eq!(
        graph.target(&file, Some("tow")).unwrap_err().to_string(),
        "target stage \"tow\" could not be found (did you mean two?)"
    );
    for (text, message) in [
        ("FROM a AS b\nCOPY --from=b /x /", "circular dependency detected on stage: b"),
        (
            "FROM a AS b\nCOPY --from=c /x /\nFROM b AS c\n",
            "circular dependency detected on stage: b",
        ),
        ("FROM a\nCOPY --from=7 /x /", "invalid stage index 7"),
        (
            "FROM a\nCOPY --from=$x /x /",
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
        ),
    ] {
        assert_eq!(evaluated(text, &inputs(&[])).unwrap_err(), message, "{text}");
    }
    let later = read("FROM a AS b\nCOPY --from=c /x /\nFROM a AS c\n");
    let global = GlobalScope::new(&later, &inputs(&[])).unwrap();
    let graph = StageGraph::new(&later, &global).unwrap();
    assert!(graph.needed(&later, 1).is_ok());
    assert_eq!(
        graph.needed(&later, 0).unwrap_err().to_string(),
        "cannot copy from stage \"c\", it needs to be defined before current stage \"b\""
    );
}

#[test]
fn triggers_are_evaluated_where_the_stage_starts() {
    let file = read("# c\nFROM a\n");
    let global = GlobalScope::new(&file, &inputs(&[])).unwrap();
    let mut scope = StageScope::on_image(&global, ["X=1"]);
    let step = parse_trigger("trigger", "WORKDIR /$X").unwrap();
    let Instruction::Workdir(path) =
        scope.evaluate_trigger(&step, &file.stages[0]).unwrap().instruction
    else {
        panic!()
    };
    assert_eq!(path.value, "/1");
    let step = parse_trigger("trigger", "WORKDIR ${Y?no}").unwrap();
    let error = scope.evaluate_trigger(&step, &file.stages[0]).unwrap_err();
    assert_eq!((error.line(), error.mark()), (2, None));
}

#[test]
fn environments_of_image_and_process() {
    let file = read("FROM a\nARG X=1\nENV Y=2 X=3\nARG Z=4\n");
    let global = GlobalScope::new(&file, &inputs(&[])).unwrap();
    let mut scope = StageScope::on_image(&global, Vec::<String>::new());
    for step in &file.stages[0].steps {
        scope.evaluate(step).unwrap();
    }
    let path = format!("PATH={}", tug_dockerfile::DEFAULT_PATH);
    assert_eq!(scope.image_env().to_words(), [path.as_str(), "Y=2", "X=3"]);
    assert_eq!(scope.env().to_words(), [path.as_str(), "X=3", "Y=2", "Z=4"]);
    let names: Vec<_> =
        scope.args().iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    assert_eq!(names, [("X", Some("1")), ("Z", Some("4"))]);
}

#[test]
fn proxies_for_a_runs_process() {
    let args: BTreeMap<String, String> = [
        ("HTTP_PROXY".into(), "p".into()),
        ("no_proxy".into(), "n".into()),
        ("OTHER".into(), "o".into()),
    ]
    .into();
    let found = proxy_variables(&args);
    let words: Vec<_> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(words, ["HTTP_PROXY=p", "http_proxy=p", "NO_PROXY=n", "no_proxy=n"]);
}

#[test]
fn an_error_points_into_the_instruction() {
    let error = evaluated("FROM a\nWORKDIR ${X!}\n", &inputs(&[])).unwrap_err();
    assert_eq!(error, "failed to process \"${X!}\": unsupported modifier (!) in substitution");
    let file = read("FROM a\nCOPY a \\\n  ${X:?need X} c\n");
    let global = GlobalScope::new(&file, &inputs(&[])).unwrap();
    let error =
        StageScope::on_image(&global, ["A=b"]).evaluate(&file.stages[0].steps[0]).unwrap_err();
    let _platform: Platform = inputs(&[]).target_platform;
    assert!(
        error.excerpt().contains("   3 | >>>   ${X:?need X} c\n     |       ^"),
        "{}",
        error.excerpt()
    );
}
