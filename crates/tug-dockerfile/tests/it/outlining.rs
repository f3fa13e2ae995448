//! What a file says of its targets and of what they take.

use std::collections::BTreeMap;

use tug_dockerfile::{Inputs, Outline, outline, parse, targets};

const FILE: &str = "\
# VERSION of the tool
ARG VERSION=1
ARG TAG=${VERSION}-slim
ARG UNUSED=x
FROM node:$TAG AS deps
ARG NPM
RUN --mount=type=secret,id=token,required --mount=type=ssh npm i
# app serves
FROM deps AS app
# PORT it listens on
ARG PORT=80
ARG VERSION
FROM scratch
COPY --from=app /a /a
";

fn of(target: Option<&str>, args: &[(&str, &str)]) -> Outline {
    let file = parse("Dockerfile", FILE.as_bytes()).unwrap();
    let mut inputs = Inputs { target_stage: target.map(str::to_owned), ..Inputs::host() };
    inputs.build_args =
        args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>();
    outline(&file, &inputs, &|_| Vec::new()).unwrap()
}

#[test]
fn targets_are_listed_with_their_comments() {
    let list = targets(&parse("Dockerfile", FILE.as_bytes()).unwrap());
    assert_eq!(list.to_text(), "TARGET    DESCRIPTION\ndeps      \napp       serves\n(default) \n");
    let json: serde_json::Value = serde_json::from_str(&list.to_json()).unwrap();
    assert_eq!(json["targets"][1]["base"], "deps");
    assert_eq!(json["targets"][1]["location"]["ranges"][0]["start"]["line"], 9);
    assert_eq!(json["targets"][2]["default"], true);
    assert!(json["targets"][2].get("name").is_none());
}

#[test]
fn an_outline_names_what_the_target_and_its_stages_take() {
    assert_eq!(
        of(Some("app"), &[]).to_text(),
        "TARGET:      app\nDESCRIPTION: serves\n\n\
         BUILD ARG   VALUE    DESCRIPTION\n\
         VERSION     1        of the tool\n\
         TAG         1-slim   \n\
         NPM                  \n\
         PORT        80       it listens on\n\n\
         SECRET   REQUIRED\ntoken    true\n\n\
         SSH       REQUIRED\ndefault   \n\n"
    );
    let deps = of(Some("deps"), &[("TAG", "2"), ("NPM", "9")]).to_text();
    assert!(deps.contains("TAG         2       \nNPM         9       \n"), "{deps}");
    assert!(!deps.contains("VERSION"), "the value given needs no other: {deps}");
    let json: serde_json::Value = serde_json::from_str(&of(None, &[]).to_json()).unwrap();
    assert!(json.get("name").is_none());
    assert_eq!(json["secrets"][0]["required"], true);
    assert_eq!(json["args"].as_array().unwrap().len(), 4);
}
