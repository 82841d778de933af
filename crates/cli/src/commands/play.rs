//! `belamy play`: walks about in a generator's noise, finds its samples' nearest relatives, makes pages.

use crate::device;
use crate::failure::{Failure, Result};
use crate::output;
use belamy_gan::data::{Dataset, ValueRange};
use belamy_gan::health::Game;
use belamy_gan::judge::features::Features;
use belamy_gan::judge::neighbours;
use belamy_gan::pages::{quiz, report};
use belamy_gan::pictures::animation::animated_png;
use belamy_gan::pictures::grid;
use belamy_gan::run::{self, Plan, noise_for};
use belamy_gan::show::{self, image_shape};
use belamy_gan::{Pair, files, latent, memory, source};
use belamy_tensor::Tensor;
use std::path::{Path, PathBuf};

/// Plays with a trained generator: paths through its noise, arithmetic, nearest relatives, a quiz, a report.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy play interpolate runs/mnist-dcgan-001 --out walk.png\n  belamy play quiz runs/mnist-dcgan-001 --out quiz.html"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    game: Kind,
}

/// What to play.
#[derive(clap::Subcommand)]
#[command(disable_help_subcommand = true)]
enum Kind {
    Interpolate(Interpolate),
    Arithmetic(Arithmetic),
    Neighbours(Neighbours),
    Quiz(Quiz),
    Report(Report),
}

/// What all but the report want to know.
#[derive(clap::Args)]
struct Of {
    /// The run's folder.
    run: PathBuf,
    /// Decides the noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The class of all samples, for a conditional recipe.
    #[arg(long, default_value_t = 0)]
    label: u32,
    /// auto, cpu, oracle, webgpu or cuda, with :N for the N-th.
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Draws what lies between samples: an animated PNG of a path that closes, or a strip a row.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy play interpolate runs/mnist-dcgan-001 --out walk.png\n  belamy play interpolate runs/mnist-dcgan-001 --strip --out strips.png"
)]
struct Interpolate {
    #[command(flatten)]
    of: Of,
    /// Samples that the path passes.
    #[arg(long, short, value_name = "N", default_value_t = 6)]
    n: usize,
    /// Pictures from each to the next.
    #[arg(long, value_name = "N", default_value_t = 12)]
    frames: usize,
    /// Milliseconds a picture.
    #[arg(long, value_name = "MS", default_value_t = 80)]
    delay: u16,
    /// Draw a still picture: a row from each sample to the next.
    #[arg(long)]
    strip: bool,
    /// The PNG file.
    #[arg(long, value_name = "FILE.png", default_value = "interpolation.png")]
    out: PathBuf,
}

/// Draws A, B, C and A − B + C: each the mean of the noise of a few samples, by their place among `belamy sample`'s.
#[derive(clap::Args)]
#[command(
    after_help = "Example (smiling woman - woman + man):\n  belamy sample runs/faces64-001 --seed 3 --out look.png\n  belamy play arithmetic runs/faces64-001 --seed 3 --a 0,5,9 --b 2,7,8 --c 1,4,6"
)]
struct Arithmetic {
    #[command(flatten)]
    of: Of,
    /// Samples that have what is wanted, from 0.
    #[arg(long, value_delimiter = ',', required = true)]
    a: Vec<usize>,
    /// Samples that lack it.
    #[arg(long, value_delimiter = ',', required = true)]
    b: Vec<usize>,
    /// Samples that shall get it.
    #[arg(long, value_delimiter = ',', required = true)]
    c: Vec<usize>,
    /// The PNG file.
    #[arg(long, value_name = "FILE.png", default_value = "arithmetic.png")]
    out: PathBuf,
}

/// Draws samples, each before the images of the data that are nearest to it pixel by pixel: are they copies?
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  belamy play neighbours runs/mnist-dcgan-001 --n 8 --k 5 --out near.png"
)]
struct Neighbours {
    #[command(flatten)]
    of: Of,
    /// The data, if they are elsewhere than in training.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Samples, a row each.
    #[arg(long, short, value_name = "N", default_value_t = 8)]
    n: usize,
    /// Nearest images beside each.
    #[arg(long, short, value_name = "K", default_value_t = 5)]
    k: usize,
    /// The PNG file.
    #[arg(long, value_name = "FILE.png", default_value = "neighbours.png")]
    out: PathBuf,
}

/// Writes a page that asks of each image: fake or real?
#[derive(clap::Args)]
#[command(after_help = "Example:\n  belamy play quiz runs/mnist-dcgan-001 --n 10 --out quiz.html")]
struct Quiz {
    #[command(flatten)]
    of: Of,
    /// The data, if they are elsewhere than in training.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Images of each kind.
    #[arg(long, short, value_name = "N", default_value_t = 10)]
    n: usize,
    /// The HTML file.
    #[arg(long, value_name = "FILE.html", default_value = "quiz.html")]
    out: PathBuf,
}

/// Writes a run's report, as the end of training does: health, curves, samples, settings.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  belamy play report runs/mnist-dcgan-001")]
struct Report {
    /// The run's folder; the page becomes its report.html.
    run: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let out = match &arguments.game {
        Kind::Interpolate(game) => interpolate(game)?,
        Kind::Arithmetic(game) => arithmetic(game)?,
        Kind::Neighbours(game) => nearest(game)?,
        Kind::Quiz(game) => ask(game)?,
        Kind::Report(game) => {
            let plan = run::read_plan(&game.run)?;
            report::write(&game.run, Game::of(&plan.recipe))?
        }
    };
    output::print(&format!("{}\n", out.display()))
}

/// The run's plan and its generator.
fn open(of: &Of) -> Result<(Plan, Pair)> {
    let device = device::find(&of.device)?;
    let plan = run::read_plan(&of.run)?;
    if plan.recipe.classes > 0 && of.label as usize >= plan.recipe.classes {
        let message = format!("--label {}: there are 0 to {}", of.label, plan.recipe.classes - 1);
        return Err(Failure::usage(message));
    }
    let pair = run::open_generator(&of.run, &plan, &device)?;
    Ok((plan, pair))
}

fn within(flag: &str, value: usize, low: usize, high: usize) -> Result<()> {
    if !(low..=high).contains(&value) {
        return Err(Failure::usage(format!("{flag} {value}: must be from {low} to {high}")));
    }
    Ok(())
}

/// The first `count` noise vectors of a seed.
fn noise(pair: &Pair, count: usize, seed: u64) -> Result<Vec<f64>> {
    Ok(noise_for(pair, count, seed)?.0.to_f64()?)
}

/// Values and shape of one of images; refuses samples that are none.
fn images(pair: &Pair, samples: &Tensor) -> Result<(Vec<f32>, [usize; 3])> {
    let shape = image_shape(&samples.dims()[1..]).ok_or_else(|| {
        Failure::usage(format!("the samples of recipe {} are no images", pair.recipe.name))
    })?;
    Ok((show::values(samples)?, shape))
}

fn interpolate(game: &Interpolate) -> Result<PathBuf> {
    within("--n", game.n, 2, 1_000)?;
    within("--frames", game.frames, 1, 1_000)?;
    within("--n times --frames", game.n * game.frames, 2, 5_000)?;
    let (_, mut pair) = open(&game.of)?;
    let stops = noise(&pair, game.n, game.of.seed)?;
    let length = pair.recipe.latent;
    let bytes = if game.strip {
        // A row ends where the next begins, so each has one picture more than steps.
        let mut rows = memory::room((game.n - 1) * (game.frames + 1) * length, "a path")?;
        for pair in stops.windows(2 * length).step_by(length) {
            rows.extend(latent::path(pair, length, game.frames, false)?);
        }
        let samples = latent::samples(&mut pair, &rows, game.of.label)?;
        let (values, [h, w, c]) = images(&pair, &samples)?;
        let shape = [samples.dims()[0], h, w, c];
        grid::grid(&values, &shape, pair.recipe.range, Some(game.frames + 1))?.png()?
    } else {
        let path = latent::path(&stops, length, game.frames, true)?;
        let mut frames = Vec::new();
        for point in path.chunks(64 * length) {
            let samples = latent::samples(&mut pair, point, game.of.label)?;
            images(&pair, &samples)?;
            for index in 0..samples.dims()[0] {
                frames.push(show::picture(&pair.recipe, &samples.slice(0, index, 1)?, "")?);
            }
        }
        animated_png(&frames, game.delay)?
    };
    files::write_atomically(&game.out, &bytes)?;
    Ok(game.out.clone())
}

fn arithmetic(game: &Arithmetic) -> Result<PathBuf> {
    let (_, mut pair) = open(&game.of)?;
    let last = game.a.iter().chain(&game.b).chain(&game.c).max().copied().unwrap_or(0);
    within("a sample's place", last, 0, 100_000)?;
    let length = pair.recipe.latent;
    let noise = noise(&pair, last + 1, game.of.seed)?;
    let mut points = Vec::new();
    for rows in [&game.a, &game.b, &game.c] {
        points.extend(latent::on_the_sphere(latent::mean(&noise, length, rows)?));
    }
    points.extend(latent::arithmetic(&noise, length, [&game.a, &game.b, &game.c])?);
    let samples = latent::samples(&mut pair, &points, game.of.label)?;
    let (values, [h, w, c]) = images(&pair, &samples)?;
    let picture = grid::grid(&values, &[4, h, w, c], pair.recipe.range, Some(4))?;
    files::write_atomically(&game.out, &picture.png()?)?;
    Ok(game.out.clone())
}

/// The data that a run was trained on, or those at another place.
fn real(plan: &Plan, data: Option<&Path>) -> Result<Dataset> {
    let trained_on = (plan.data != Path::new("")).then_some(plan.data.as_path());
    source::load(&plan.recipe, data.or(trained_on), plan.seed)?
        .ok_or_else(|| Failure::usage(format!("recipe {} has no images", plan.recipe.name)))
}

fn nearest(game: &Neighbours) -> Result<PathBuf> {
    within("--n", game.n, 1, 200)?;
    within("--k", game.k, 1, 50)?;
    let (plan, mut pair) = open(&game.of)?;
    let points = noise(&pair, game.n, game.of.seed)?;
    let samples = latent::samples(&mut pair, &points, game.of.label)?;
    let (values, [h, w, c]) = images(&pair, &samples)?;
    let real = real(&plan, game.data.as_deref())?;
    let elements = h * w * c;
    if real.sample_elements() != elements {
        let message = format!("the data's images are {:?}, not {h}×{w}×{c}", &real.shape[1..]);
        return Err(Failure::new(message));
    }
    within("--k", game.k, 1, real.samples())?;
    let wide = |values: &[f32]| {
        memory::collected(values.iter().map(|&value| f64::from(value)), "an image")
    };
    let mut rows = memory::room(game.n * (game.k + 1) * elements, "a picture")?;
    for sample in values.chunks_exact(elements) {
        let sample_features = Features::new(wide(sample)?, elements)?;
        let mut distances = memory::room(real.samples(), "distances")?;
        for (place, image) in real.images.chunks_exact(elements).enumerate() {
            let found =
                neighbours::nearest(&sample_features, &Features::new(wide(image)?, elements)?)?;
            distances.push((found[0].0, place));
        }
        // The earlier of two equally near; a sort that keeps their order would take memory of its own.
        distances.sort_unstable_by(|a: &(f64, usize), b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        rows.extend_from_slice(sample);
        for (_, place) in distances.iter().take(game.k) {
            rows.extend_from_slice(&real.images[place * elements..][..elements]);
        }
    }
    let shape = [game.n * (game.k + 1), h, w, c];
    let picture = grid::grid(&rows, &shape, pair.recipe.range, Some(game.k + 1))?;
    files::write_atomically(&game.out, &picture.png()?)?;
    Ok(game.out.clone())
}

fn ask(game: &Quiz) -> Result<PathBuf> {
    within("--n", game.n, 1, 500)?;
    let (plan, mut pair) = open(&game.of)?;
    let (points, labels) = noise_for(&pair, game.n, game.of.seed)?;
    let samples = pair.sample(0, &points, labels.as_ref())?;
    let (values, [h, w, c]) = images(&pair, &samples)?;
    let data = real(&plan, game.data.as_deref())?;
    let elements = h * w * c;
    if data.sample_elements() != elements {
        let message = format!("the data's images are {:?}, not {h}×{w}×{c}", &data.shape[1..]);
        return Err(Failure::new(message));
    }
    let png = |values: &[f32], range: ValueRange| -> Result<Vec<u8>> {
        let bytes = values.iter().map(|&value| range.to_byte(value).unwrap_or(0));
        let bytes = memory::collected(bytes, "an image")?;
        let image = belamy_gan::data::image::Image { width: w, height: h, channels: c, bytes };
        Ok(image.png()?)
    };
    let fake = values.chunks_exact(elements).map(|image| png(image, pair.recipe.range));
    // Spread over the data, which may be sorted.
    let stride = (data.samples() / game.n).max(1);
    let shown = data.images.chunks_exact(elements).step_by(stride).take(game.n);
    let real = shown.map(|image| png(image, data.range)).collect::<Result<Vec<_>>>()?;
    let fake = fake.collect::<Result<Vec<_>>>()?;
    let page = quiz::quiz(&plan.recipe.name, &real, &fake, game.of.seed)?;
    files::write_atomically(&game.out, page.as_bytes())?;
    Ok(game.out.clone())
}
