//! The page and the curves that a finished run makes of its metrics.jsonl.
#![no_main]

use belamy_fuzz::edits::{edit, edited};
use belamy_fuzz::folder::{Folder, Slot};
use belamy_fuzz::source::Source;
use belamy_gan::health::{self, Game};
use belamy_gan::objective::LossConvention;
use belamy_gan::pages::report::report;
use belamy_gan::pictures::curves::{Panel, Series, curves};
use belamy_gan::recipe::Recipe;
use belamy_gan::run::Plan;
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;

const SOUND: &[u8] =
    br#"{"step":1,"loss_d":1.4,"loss_g":0.7,"accuracy_real":0.5,"accuracy_fake":0.5}
{"step":20,"loss_d":0.6,"loss_g":1e5,"accuracy_real":1.0,"variety":0.9}
{"step":40,"loss_d":0.01,"loss_g":6.0,"health":"balanced"}
"#;

struct State {
    folder: PathBuf,
    metrics: Slot,
}

thread_local! {
    static STATE: State = state();
}

fn state() -> State {
    let folder = Folder::new("report");
    let plan = Plan::new(Recipe::named("sine").expect("a recipe"), 1, &belamy_cpu::cpu());
    let text = toml::to_string(&plan).expect("a plan is plain data");
    folder.slot("run.toml").put(text.as_bytes());
    State { metrics: folder.slot("metrics.jsonl"), folder: folder.path().to_path_buf() }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![[&[0], SOUND].concat(), vec![1], vec![3]];
    for (old, new) in
        [("40", "10"), ("0.01", "1e308"), ("1.4", "-1e308"), ("20", "18446744073709551615")]
    {
        for choice in [1, 3] {
            seeds.push([&[choice], &edit(SOUND, old.as_bytes(), new.as_bytes())[..]].concat());
        }
    }
    seeds
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    STATE.with(|State { folder, metrics }| {
        let mut source = Source::new(data);
        let choice = source.choice(4);
        let bytes = match choice % 2 {
            0 => source.rest().to_vec(),
            _ => edited(SOUND, &mut source),
        };
        belamy_fuzz::written(&bytes);
        metrics.put(&bytes);
        if choice < 2 {
            let game = Game::plain(LossConvention::Sum);
            assert!(!report(folder, game).expect("a plan is there").is_empty());
            return;
        }
        let Ok(readings) = health::read(metrics.path()) else { return };
        let points = readings.iter().filter_map(|at| Some((at.step as f64, at.loss_d?)));
        let series = Series { name: "loss".to_owned(), points: points.collect() };
        let panel = Panel { series: vec![series], ..Panel::default() };
        let canvas = curves(&[panel], "step").expect("there is memory");
        assert_eq!(canvas.width(), 1000);
    });
});
