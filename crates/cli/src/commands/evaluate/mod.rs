//! `belamy evaluate`: says what a trained generator's samples, or a folder of images, are worth.

mod card;
mod classified;
mod digits;
mod labelled;
mod targets;

use crate::device;
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::Waiting;
use belamy_gan::data::{Dataset, ValueRange, folder};
use belamy_gan::judge::features::Features;
use belamy_gan::judge::{comparison, lines, points, showers};
use belamy_gan::recipe::Source;
use belamy_gan::show::image_shape;
use belamy_gan::{Pair, checkpoint, files, judge, run, source};
use belamy_nn::{Context, weights};
use belamy_tensor::{Device, Shape, Tensor};
use card::{Card, Discriminator, Metrics, Real};
use std::path::{Path, PathBuf};

/// Real and fake samples of which pixels are compared: more change little and cost memory.
const MOST_COMPARED: usize = 2_048;

/// Samples that the discriminator sees at a time.
const AT_ONCE: usize = 250;

/// Judges a run's newest checkpoint, or a folder of images, against real data, and prints a metric card.
///
/// Digits are judged by a classifier that is first trained on the real digits of --data, and images of classes that a
/// generator was asked for by one trained on the real images; its last layer but one gives the features for Fréchet
/// distance, kernel distance, precision, recall, density and coverage. Other images are compared patch by patch and
/// pair by pair; features of your own, such as Inception's, are compared by --features.
/// A classifier must choose, and can be sure of images that show nothing: look at the samples too.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy evaluate runs/sine-001\n  belamy evaluate runs/mnist-dcgan-001 --data mnist/ --classifier judge.safetensors\n  belamy evaluate samples/ --data photos/ --side 64\n  belamy evaluate --features real.safetensors,fake.safetensors --json"
)]
pub(crate) struct Arguments {
    /// A run's folder, or a folder of PNG or JPEG images.
    #[arg(value_name = "RUN|DIR", required_unless_present = "features")]
    subject: Option<PathBuf>,
    /// The real data: a folder with MNIST's idx files for digits, whose 60,000 digits train the classifier; or what the
    /// recipe was trained on; or a folder of images.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Keep the trained classifier in this file, or take it from there if the file exists. A folder of images is then
    /// judged as digits.
    #[arg(long, value_name = "FILE.safetensors")]
    classifier: Option<PathBuf>,
    /// Compare features of your own: tensor `features` [N, D] in each file.
    #[arg(
        long,
        value_name = "REAL,FAKE",
        value_delimiter = ',',
        conflicts_with_all = ["subject", "data", "classifier"]
    )]
    features: Option<Vec<PathBuf>>,
    /// How many samples are judged, and at most how many real ones beside them.
    #[arg(long, short, value_name = "N", default_value_t = 1_000)]
    n: usize,
    /// The side to which both folders' images are brought.
    #[arg(long, value_name = "PIXELS", default_value_t = 64)]
    side: usize,
    /// Compare folders' images in grey.
    #[arg(long)]
    grey: bool,
    /// Decides the samples' noise, and what is drawn in comparisons.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// auto, cpu, oracle, webgpu or cuda, with :N for the N-th.
    #[arg(long, default_value = "auto")]
    device: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let device = device::find(&arguments.device)?;
    if !(1..=1_000_000).contains(&arguments.n) {
        return Err(Failure::usage(format!("--n {}: must be from 1 to 1000000", arguments.n)));
    }
    let card = match (&arguments.subject, &arguments.features) {
        (Some(path), _) if path.is_dir() && !path.join("run.toml").exists() => {
            of_folder(path, arguments, &device)?
        }
        (Some(path), _) => of_run(path, arguments, &device)?,
        (None, Some(files)) => of_features(files, arguments, &device)?,
        (None, None) => {
            return Err(Failure::usage("evaluate wants a run, a folder, or --features"));
        }
    };
    let card = Card {
        version: env!("CARGO_PKG_VERSION"),
        device: device.id().to_string(),
        seed: arguments.seed,
        ..card
    };
    if arguments.json { output::print_json(&card) } else { output::print(&card.text()) }
}

/// Two files of features.
fn of_features(files: &[PathBuf], arguments: &Arguments, device: &Device) -> Result<Card> {
    let [real, fake] = files else {
        return Err(Failure::usage(
            "--features wants two files: REAL.safetensors,FAKE.safetensors",
        ));
    };
    let read = |path: &PathBuf| -> Result<Features> {
        let refuse = |what: String| Failure::new(format!("{}: {what}", path.display()));
        let features = weights::read(path, device)?
            .remove("features")
            .ok_or_else(|| refuse("there is no tensor features in it".into()))?;
        let &[_, length] = features.dims() else {
            return Err(refuse(format!("features is {}, not [N, D]", features.shape())));
        };
        Features::new(features.to_f64()?, length).map_err(|error| refuse(error.to_string()))
    };
    let (real_features, fake_features) = (read(real)?, read(fake)?);
    let extractor = "given by --features";
    let features =
        comparison::of_features(&real_features, &fake_features, extractor, arguments.seed)?;
    Ok(Card {
        subject: fake.display().to_string(),
        samples: fake_features.count(),
        preprocessing: "none: features as given".into(),
        real: Some(Real {
            data: real.display().to_string(),
            digest: None,
            samples: real_features.count(),
        }),
        features: Some(features),
        ..Card::default()
    })
}

/// A folder of images against another, or against digits.
fn of_folder(path: &Path, arguments: &Arguments, device: &Device) -> Result<Card> {
    let subject = path.display().to_string();
    if arguments.classifier.is_some() {
        let fake = first(folder::load(path, 28, 1, ValueRange::Signed)?, arguments.n)?;
        let card = digits::judged(&fake.images, None, arguments, device)?;
        let preprocessing =
            "centre square brought to 28×28 grey in [-1, 1]; paper -1, ink 1".to_owned();
        return Ok(Card { subject, preprocessing, ..card });
    }
    let data = arguments.data.as_ref().ok_or_else(|| {
        Failure::usage("a folder of images is judged against real ones: give their folder by --data, or --classifier for digits")
    })?;
    let (side, channels) = (arguments.side, if arguments.grey { 1 } else { 3 });
    let fake = first(folder::load(path, side, channels, ValueRange::Unit)?, arguments.n)?;
    let all = folder::load(data, side, channels, ValueRange::Unit)?;
    let real = Real {
        data: data.display().to_string(),
        digest: Some(all.digest.clone()),
        samples: all.samples(),
    };
    let beside = spread(&all, fake.samples())?;
    let images = compared(&beside, &fake.images, [side, side, channels], arguments)?;
    Ok(Card {
        subject,
        samples: fake.samples(),
        preprocessing: format!(
            "centre square brought to {side}×{side}×{channels} by a triangle filter, [0, 1]"
        ),
        real: Some(real),
        images: Some(images),
        ..Card::default()
    })
}

/// The first samples of a data set.
fn first(data: Dataset, most: usize) -> Result<Dataset> {
    if data.samples() <= most {
        return Ok(data);
    }
    let mut shape = data.shape.clone();
    shape[0] = most;
    let images = data.images[..most * data.sample_elements()].to_vec();
    Ok(Dataset::new(images, &shape, None, data.range)?)
}

/// At most so many samples of a data set, evenly spread over it: folders come class by class.
fn spread(data: &Dataset, most: usize) -> Result<Dataset> {
    let (count, wanted) = (data.samples(), most.min(data.samples()));
    let indices = (0..wanted).map(|index| index * count / wanted);
    let images = indices.filter_map(|index| data.sample(index)).flatten().copied().collect();
    Ok(Dataset::new(images, &[&[wanted], &data.shape[1..]].concat(), None, data.range)?)
}

/// As many real images as fakes, side by side; values in [0, 1].
fn compared(
    real: &Dataset,
    fake: &[f32],
    [height, width, channels]: [usize; 3],
    arguments: &Arguments,
) -> Result<comparison::ImageCard> {
    let elements = height * width * channels;
    let count = (fake.len() / elements).min(real.samples()).min(MOST_COMPARED);
    if count < 2 {
        return Err(Failure::new("at least two images of each kind can be compared"));
    }
    let (real, fake) = (&real.images[..count * elements], &fake[..count * elements]);
    Ok(comparison::of_images(real, fake, [count, height, width, channels], arguments.seed)?)
}

/// A run's newest checkpoint.
fn of_run(path: &Path, arguments: &Arguments, device: &Device) -> Result<Card> {
    let plan = run::read_plan(path)?;
    let recipe = &plan.recipe;
    let asks_for_classes = recipe.classes > 0 && recipe.source == Source::Images;
    if arguments.classifier.is_some() && recipe.source != Source::Mnist && !asks_for_classes {
        let message = format!(
            "the samples of recipe {} are neither digits nor of classes and are judged without a classifier: leave --classifier out",
            recipe.name
        );
        return Err(Failure::usage(message));
    }
    if arguments.data.is_some() && matches!(recipe.source, Source::Sine | Source::Lines) {
        let message =
            format!("recipe {} makes its data from the seed; leave --data out", recipe.name);
        return Err(Failure::usage(message));
    }
    if recipe.system.translates() {
        return targets::of_run(path, &plan, arguments, device);
    }
    let mut pair = run::open_generator(path, &plan, device)?;
    let (samples, shape, asked) = drawn(&mut pair, arguments)?;
    let given = (plan.data != Path::new("")).then_some(&plan.data);
    let place = arguments.data.as_ref().or(given);
    let mut card = Card::default();
    match recipe.source {
        Source::Mnist => {
            judge::digits::check(recipe)?;
            let signed = brought(&samples, recipe.range, ValueRange::Signed);
            card = digits::judged(&signed, asked.as_deref(), arguments, device)?;
            card.preprocessing = match recipe.range {
                ValueRange::Unit => "from [0, 1] to [-1, 1]; 28×28×1, paper -1, ink 1",
                _ => "none: 28×28×1 in [-1, 1], paper -1, ink 1",
            }
            .to_owned();
        }
        Source::Sine => {
            let wide = |value: f32| f64::from(value);
            let points: Vec<[f64; 2]> =
                samples.chunks_exact(2).map(|point| [wide(point[0]), wide(point[1])]).collect();
            card.metrics = Some(Metrics::Points(points::judge(&points)?));
            card.preprocessing = "none: points [x, y]".to_owned();
        }
        Source::Lines => {
            let [height, width, 1] = shape[..] else {
                return Err(Failure::new(format!("recipe {} makes no grey images", recipe.name)));
            };
            let values: Vec<f64> = samples.iter().map(|&value| f64::from(value)).collect();
            card.metrics = Some(Metrics::Lines(lines::judge(&values, [height, width])?));
            card.preprocessing = "none: grey images in [0, 1]".to_owned();
        }
        Source::Showers => {
            card.preprocessing =
                "none: square roots of voxels' shares of the incident energy".to_owned();
        }
        _ => {
            card.preprocessing = "images brought to [0, 1]".to_owned();
            let shape = image_shape(&shape).filter(|_| asks_for_classes);
            if let (Some(shape), Some(asked), Some(place)) = (shape, &asked, place) {
                card = labelled::judged(&samples, shape, asked, recipe, place, arguments, device)?;
            }
        }
    }
    let loaded = match (recipe.source, place) {
        // Others than it was trained on.
        (Source::Showers, None) => {
            let made = recipe.samples.max(1);
            Some(belamy_gan::data::showers::parametrised(made, plan.seed.wrapping_add(1))?)
        }
        _ => source::load(recipe, place.map(PathBuf::as_path), plan.seed)?,
    };
    let real = match loaded {
        Some(real) => real,
        None => belamy_gan::data::synthetic::sine_points(arguments.n, arguments.seed)?,
    };
    if let (Source::Showers, Some(classes), Some(asked)) = (recipe.source, &real.labels, &asked) {
        let found = showers::judge(&real.images, classes, &samples, asked)?;
        card.metrics = Some(Metrics::Showers(found));
    }
    let are_images = recipe.range != ValueRange::Unbounded && recipe.source != Source::Showers;
    if let Some(shape) = image_shape(&shape).filter(|_| are_images) {
        let unit = brought(&real.images, real.range, ValueRange::Unit);
        let mut unit = Dataset::new(unit, &real.shape, None, ValueRange::Unit)?;
        if recipe.source == Source::Images {
            unit = spread(&unit, arguments.n)?;
        }
        let fake = brought(&samples, recipe.range, ValueRange::Unit);
        card.images = Some(compared(&unit, &fake, shape, arguments)?);
    }
    card.discriminator = discriminator(path, &pair, &real, &samples, arguments)?;
    if card.real.is_none() {
        let data = place.map_or("made from the seed, or built in".to_owned(), |place| {
            place.display().to_string()
        });
        card.real = Some(Real { data, digest: Some(real.digest.clone()), samples: real.samples() });
    }
    Ok(Card {
        subject: path.display().to_string(),
        recipe: Some(pair.recipe.name.clone()),
        step: Some(pair.step),
        samples: arguments.n,
        ..card
    })
}

/// Values of one range in another; unbounded ones stay.
fn brought(values: &[f32], from: ValueRange, to: ValueRange) -> Vec<f32> {
    let change: fn(f32) -> f32 = match (from, to) {
        (ValueRange::Unit, ValueRange::Signed) => |value| 2.0 * value - 1.0,
        (ValueRange::Signed, ValueRange::Unit) => |value| 0.5 * value + 0.5,
        _ => |value| value,
    };
    values.iter().map(|&value| change(value)).collect()
}

type Drawn = (Vec<f32>, Vec<usize>, Option<Vec<u32>>);

/// All numbers of the samples, the shape of one, and the classes that were asked for, if there are any.
fn drawn(pair: &mut Pair, arguments: &Arguments) -> Result<Drawn> {
    let mut waiting = Waiting::on("drawing samples");
    let (mut values, mut done) = (Vec::new(), 0);
    let asked = judge::draw(pair, arguments.n, arguments.seed, |samples| {
        values.extend(samples.to_f64()?.into_iter().map(|value| value as f32));
        done += samples.dims()[0] as u64;
        waiting.reached(done, arguments.n as u64);
        Ok(())
    })?;
    let shape = pair.generator.output()?.dims().to_vec();
    Ok((values, shape, asked))
}

/// What the run's own discriminator says; none where its weights are not kept, or it wants labels.
fn discriminator(
    run: &Path,
    pair: &Pair,
    real: &Dataset,
    fake: &[f32],
    arguments: &Arguments,
) -> Result<Option<Discriminator>> {
    let Some(newest) = checkpoint::latest(&run.join("checkpoints"))? else { return Ok(None) };
    let name = "discriminator.safetensors";
    let file = newest.join(name);
    let network = &pair.discriminator;
    let input = network.input();
    if !file.exists() || network.is_conditional() || input.elements() != real.sample_elements() {
        return Ok(None);
    }
    files::verify_some(&newest, &[name])?;
    files::check_listed(&newest, &[name])?;
    weights::into_network(network, weights::read(&file, pair.device())?)?;
    let taken_for_real = |values: &[f32]| -> Result<(usize, f64)> {
        let elements = input.elements();
        let (mut taken, mut count) = (0, 0);
        for part in values.chunks(AT_ONCE * elements) {
            let samples = part.len() / elements;
            let mut shape = vec![samples];
            shape.extend(input.dims());
            let tensor = Tensor::from_slice(part, Shape::new(&shape)?, pair.device())?;
            let mut cx = Context::evaluate(pair.seed, 0, pair.device())?;
            let logits = network.forward(&tensor, None, &mut cx)?.to_f64()?;
            for answers in logits.chunks_exact(logits.len() / samples) {
                // A discriminator of patches says one thing of an image: their mean. One that names classes too says
                // first what is asked here.
                let names_classes = pair.recipe.regularizers.auxiliary > 0.0;
                let patches = if names_classes { &answers[..1] } else { answers };
                taken += usize::from(patches.iter().sum::<f64>() > 0.0);
            }
            count += samples;
        }
        Ok((count, taken as f64 / count as f64))
    };
    let beside = real.samples().min(arguments.n) * real.sample_elements();
    let (reals, accuracy_real) = taken_for_real(&real.images[..beside])?;
    let (fakes, fooling_rate) = taken_for_real(fake)?;
    let accuracy_fake = 1.0 - fooling_rate;
    Ok(Some(Discriminator { real: reals, fake: fakes, accuracy_real, accuracy_fake, fooling_rate }))
}
