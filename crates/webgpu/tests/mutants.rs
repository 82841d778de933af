//! The judge judged: the shaders' texts with a slip in one line, which the case table must reject.
//!
//! By default the first few of each file are judged; `BELAMY_MUTANTS=norm.wgsl,pad.wgsl` judges more of some, and
//! `BELAMY_MUTANTS=all` those that the table `tests/mutants.md` is of, and compares it where the adapter is a software
//! one.

mod common;

use belamy_shaders::{SOURCES, SPECIALISED, VARIANTS};
use belamy_tensor::DType;
use belamy_tests::mutants::texts::children::{self, Outcome, all_are_asked, judge_all};
use belamy_tests::mutants::texts::{Language, TextMutant, table};
use belamy_tests::ops::{cases_of, conv2d, matmul};
use belamy_tests::plan::Subject;
use belamy_tests::{Case, ops};
use belamy_webgpu::{Options, Products, adapter};
use common::{open, say};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// Each file, and the shader that it is the text of. Cooperative matrices are not for every adapter.
fn files() -> impl Iterator<Item = (String, &'static str)> {
    let names = SOURCES.iter().chain(VARIANTS).map(|(name, _)| *name);
    names.filter(|name| !name.ends_with(".cooperative")).map(|name| (format!("{name}.wgsl"), name))
}

fn text_of(file: &str) -> Option<String> {
    let (_, shader) = files().find(|(name, _)| name == file)?;
    belamy_shaders::source(shader).map(|text| text.into_owned())
}

/// The devices that judge a shader, each with the name that its text has there: what is wrong may show only with
/// canaries, only where every access is checked, or only where the adapter grants no more than it must. The plain files
/// of products would stand back behind their variants; they are judged once more as large tiles.
fn devices(shader: &'static str) -> Vec<(&'static str, Options)> {
    // So few groups that most cases have more and are folded over two axes.
    let plain = Options { canaries: true, most_groups: Some(3), ..Options::default() };
    let mut devices = vec![
        (shader, plain),
        (shader, Options { portable: true, ..plain }),
        (shader, Options { portable: true, checked: true, ..plain }),
    ];
    let large = match shader {
        "matmul" => "matmul.large",
        "conv2d" => "conv2d.large",
        _ => return devices,
    };
    devices.iter_mut().for_each(|(_, options)| options.products = Some(Products::Portable));
    devices.push((large, Options { products: Some(Products::Large), ..plain }));
    devices
}

/// A family's text as one of its variants has it.
fn specialised(name: &str, text: &str) -> String {
    let special = SPECIALISED.iter().find(|special| special.name == name);
    let replaced = special.iter().flat_map(|special| special.replaced.iter().copied().flatten());
    replaced.fold(text.to_string(), |text, (line, by)| text.replacen(line, by, 1))
}

/// The cases of the shader's family; then shapes drawn at random for those that are products, and at last, for who has
/// survived all that, what else there is.
fn cases(shader: &str, to_the_end: bool) -> impl Iterator<Item = Case> {
    let family = shader.split('.').next().unwrap_or_default();
    let mut cases = cases_of(&[family]);
    match family {
        "matmul" => cases.extend(matmul::sampled(2, 24)),
        "conv2d" => cases.extend(conv2d::sampled(2, 24)),
        _ => {}
    }
    let others = move || ops::all_cases().into_iter().filter(|case| !case.large);
    cases.into_iter().chain(to_the_end.then(others).into_iter().flatten())
}

/// Whether a text is WGSL.
fn validate(text: &str) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|error| error.message().to_string())?;
    Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP)
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .map(|_| ())
        .map_err(|error| error.as_inner().to_string())
}

#[test]
fn mutants_of_the_shaders_are_rejected() {
    if open("mutants of the shaders", Options::default()).is_none() {
        return;
    }
    // Software products are for software adapters.
    let software = adapter::adapters().first().is_some_and(|found| found.kind == "software");
    let texts = files().filter(|(file, _)| software || !file.contains(".software."));
    let texts = texts.filter_map(|(file, _)| text_of(&file).map(|text| (file, text))).collect();
    // What f16 needs alone is in families' texts too, but runs in variants that have bounds of their own.
    let of_halves = |mutant: &TextMutant| mutant.before.contains("0x1p127f");
    let run = judge_all(Language::Wgsl, texts, of_halves);
    say(table::lines(&run.judged));
    let whole = all_are_asked() && software;
    let complaints = table::complaints(&run, ".wgsl", whole);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    if whole {
        table::agrees(&table::section("WGSL", &run.judged)).unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
#[ignore = "one mutant in a process of its own: the test above begins it"]
fn one_mutant() {
    let Some((file, mutant)) = children::asked(Language::Wgsl, text_of) else { return };
    let Some((_, shader)) = files().find(|(name, _)| *name == file) else { return };
    let mutated = mutant.is_some();
    let text = mutant.map(|mutant| mutant.text).or_else(|| text_of(&file)).unwrap_or_default();
    if let Err(message) = validate(&text) {
        return children::answer(&Outcome::Invalid(message));
    }
    let mut outcome = Outcome::Survived;
    for (number, (name, options)) in devices(shader).into_iter().enumerate() {
        let Some((device, gpu)) = open("one mutant", options) else { return };
        // SAFETY: this process does nothing else.
        unsafe { gpu.replace_shader(name, specialised(name, &text)) };
        let subject = Subject { device, dtypes: vec![DType::F32], threaded: false };
        outcome =
            children::judge(&subject, &children::MODES, cases(shader, mutated && number == 0));
        if outcome != Outcome::Survived {
            break;
        }
    }
    children::answer(&outcome);
}
