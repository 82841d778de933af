//! `belamy sample`: draws samples from a trained generator.

use crate::device;
use crate::failure::{Failure, Result};
use crate::output;
use belamy_gan::data::{folder, hdf5};
use belamy_gan::recipe::Source;
use belamy_gan::run::{self, Plan, noise_for};
use belamy_gan::{Pair, ensemble, files, memory, show};
use belamy_nn::weights;
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::finite::count_non_finite;
use belamy_tensor::{Device, Tensor};
use std::path::{Path, PathBuf};

/// Draws samples from a run's newest checkpoint, or makes images from images.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy sample runs/mnist-mlp-001 --n 100 --out digits.png\n  belamy sample runs/mnist-mlp-001 --seed 7 --out digits.safetensors\n  belamy sample runs/pix2pix-001 --input plans/ --out facades.png"
)]
pub(crate) struct Arguments {
    /// The run's folder.
    run: PathBuf,
    /// How many samples.
    #[arg(long, short, value_name = "N")]
    n: Option<usize>,
    /// The class of all samples, for a conditional recipe; in turn if not given.
    #[arg(long)]
    label: Option<u32>,
    /// Decides the noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Take the noise from a safetensors file: tensor `z`, optionally `label`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["n", "seed"])]
    noise: Option<PathBuf>,
    /// Images to make others from, for recipes such as pix2pix: a folder, a zip or one image. Sides of a grid: input, output.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["noise", "label"])]
    input: Option<PathBuf>,
    /// The other way round, for recipes of two ways.
    #[arg(long, requires = "input")]
    back: bool,
    /// Draw one grid even where --out is a folder.
    #[arg(long)]
    grid: bool,
    /// x.png for a grid, x.safetensors for the numbers, DIR/ for a file a sample, pixel by pixel; x.hdf5 for showers in
    /// CaloChallenge's layout.
    #[arg(long, value_name = "PATH", default_value = "samples.png")]
    out: PathBuf,
    /// auto, cpu, oracle, webgpu or cuda, with :N for the N-th.
    #[arg(long, default_value = "auto")]
    device: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let device = device::find(&arguments.device)?;
    let form = form_of(&arguments.out)?;
    let plan = run::read_plan(&arguments.run)?;
    if let Some(input) = &arguments.input {
        return translate(arguments, &plan, input, form, &device);
    }
    if matches!(form, Form::Showers) && plan.recipe.source != Source::Showers {
        return Err(no_showers(arguments, &plan));
    }
    let mut pair = run::open_generator(&arguments.run, &plan, &device)?;
    let (noise, labels) = match &arguments.noise {
        Some(path) => given_noise(path, &pair)?,
        None => {
            let count = arguments.n.unwrap_or(64);
            if !(1..=1_000_000).contains(&count) {
                return Err(Failure::usage(format!("--n {count}: must be from 1 to 1000000")));
            }
            noise_for(&pair, count, arguments.seed)?
        }
    };
    let labels = match (arguments.label, pair.recipe.classes) {
        (None, _) => labels,
        (Some(label), classes) if (label as usize) < classes => {
            let count = noise.dims()[0];
            let labels = memory::collected(std::iter::repeat_n(label, count), "labels")?;
            Some(Tensor::from_slice(&labels, [count], &device)?)
        }
        (Some(_), 0) => {
            return Err(Failure::usage(format!("recipe {} has no labels", plan.recipe.name)));
        }
        (Some(label), classes) => {
            return Err(Failure::usage(format!("--label {label}: there are 0 to {}", classes - 1)));
        }
    };
    let samples = pair.sample(0, &noise, labels.as_ref())?;
    write(arguments, form, &pair, &samples, &noise, labels)
}

/// Makes images from the images at `input`.
fn translate(
    arguments: &Arguments,
    plan: &Plan,
    input: &Path,
    form: Form,
    device: &Device,
) -> Result<()> {
    if !plan.recipe.system.translates() {
        let message =
            format!("recipe {} makes samples from noise: leave --input out", plan.recipe.name);
        return Err(Failure::usage(message));
    }
    let mut ensemble = run::open_ensemble(&arguments.run, plan, device)?;
    let generator = match (arguments.back, ensemble.players().len()) {
        (false, _) => 0,
        (true, 4) => 2,
        (true, _) => {
            return Err(Failure::usage(format!("recipe {} goes one way only", plan.recipe.name)));
        }
    };
    let most = arguments.n.unwrap_or(64);
    let wanted = ensemble.players()[generator].network.input();
    let &[side, _, channels] = wanted.dims() else {
        return Err(Failure::new("the generator takes no images"));
    };
    let data = folder::load_some(input, most, side, channels, plan.recipe.range)?;
    let count = data.samples();
    let inputs = Tensor::from_slice(&data.images, [count, side, side, channels], device)?;
    // A few at a time bound the memory; the results do not depend on it.
    let mut made = Vec::new();
    for start in (0..count).step_by(8) {
        let part = inputs.slice(0, start, 8.min(count - start))?;
        made.push(ensemble.translate(generator, &part)?);
    }
    let made = concat(&made.iter().collect::<Vec<_>>(), 0)?;
    let out = &arguments.out;
    let recipe = &plan.recipe;
    match form {
        Form::Showers => return Err(no_showers(arguments, plan)),
        Form::Picture => {
            let grid = ensemble::side_by_side(recipe, &[inputs, made])?;
            files::write_atomically(out, &grid.png()?)?;
        }
        Form::Numbers => {
            let tensors = [("input".to_owned(), inputs), ("image".to_owned(), made)];
            files::write_atomically(out, &weights::to_bytes(&tensors, &[])?)?;
        }
        Form::Folder => {
            std::fs::create_dir_all(out).map_err(|error| {
                Failure::new(format!("cannot write {}: {error}", out.display()))
            })?;
            if arguments.grid {
                let grid = ensemble::side_by_side(recipe, &[inputs, made])?;
                files::write_atomically(out.join("grid.png"), &grid.png()?)?;
            } else {
                for index in 0..count {
                    let one = show::image(recipe, &made.slice(0, index, 1)?)?.png()?;
                    files::write_atomically(out.join(format!("{index:06}.png")), &one)?;
                }
            }
        }
    }
    output::print(&format!("{}\n", out.display()))
}

fn no_showers(arguments: &Arguments, plan: &Plan) -> Failure {
    let (out, name) = (arguments.out.display(), &plan.recipe.name);
    Failure::usage(format!(
        "--out {out}: recipe {name} makes no showers: end it in .png, .safetensors or /"
    ))
}

/// What is written.
#[derive(Clone, Copy)]
enum Form {
    Picture,
    Numbers,
    Folder,
    Showers,
}

/// The form that a path asks for.
fn form_of(out: &Path) -> Result<Form> {
    let extension = out.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        _ if out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/') => Ok(Form::Folder),
        Some("png") => Ok(Form::Picture),
        Some("safetensors") => Ok(Form::Numbers),
        Some("hdf5" | "h5") => Ok(Form::Showers),
        _ => {
            let message = format!("--out {}: end it in .png, .safetensors or /", out.display());
            Err(Failure::usage(message))
        }
    }
}

/// Noise and labels from a file, checked against the recipe.
fn given_noise(path: &Path, pair: &Pair) -> Result<(Tensor, Option<Tensor>)> {
    let mut tensors = weights::read(path, pair.device())?;
    let refuse = |what: String| Failure::new(format!("{}: {what}", path.display()));
    let noise = tensors.remove("z").ok_or_else(|| refuse("there is no tensor z in it".into()))?;
    let latent = pair.recipe.latent;
    if noise.shape().rank() != 2 || noise.dims()[1] != latent || noise.dims()[0] == 0 {
        return Err(refuse(format!("z is {}, not [N, {latent}]", noise.shape())));
    }
    if !noise.dtype().is_float() {
        return Err(refuse(format!("z is {}, not f32", noise.dtype())));
    }
    if count_non_finite(&[&noise])?.item()? > 0.0 {
        return Err(refuse("z holds a number that is not finite".into()));
    }
    let noise = noise.to_dtype(pair.dtype())?;
    let count = noise.dims()[0];
    let labels = match (pair.recipe.classes, tensors.remove("label")) {
        (0, _) => None,
        (_, None) => Some(noise_for(pair, count, 0)?.1.expect("a conditional recipe has labels")),
        (classes, Some(labels)) => {
            let values = labels.to_vec::<u32>().map_err(|error| refuse(error.to_string()))?;
            if values.len() != count || values.iter().any(|&label| label as usize >= classes) {
                return Err(refuse(format!("label must hold {count} numbers below {classes}")));
            }
            Some(labels.reshape([count])?)
        }
    };
    Ok((noise, labels))
}

fn write(
    arguments: &Arguments,
    form: Form,
    pair: &Pair,
    samples: &Tensor,
    noise: &Tensor,
    labels: Option<Tensor>,
) -> Result<()> {
    let out = &arguments.out;
    let title = format!("{} samples after step {}", noise.dims()[0], pair.step);
    let draw = |samples: &Tensor| -> Result<Vec<u8>> {
        Ok(show::picture(&pair.recipe, samples, &title)?.png()?)
    };
    match form {
        Form::Folder => {
            std::fs::create_dir_all(out).map_err(|error| {
                Failure::new(format!("cannot write {}: {error}", out.display()))
            })?;
            if arguments.grid {
                files::write_atomically(out.join("grid.png"), &draw(samples)?)?;
            } else {
                for index in 0..samples.dims()[0] {
                    // An image is a file of its own pixels, so that it can be judged or trained on; a point is drawn.
                    let one = samples.slice(0, index, 1)?;
                    let png = match show::image_shape(&one.dims()[1..]) {
                        Some([h, w, c]) => {
                            show::image(&pair.recipe, &one.reshape([1, h, w, c])?)?.png()?
                        }
                        None => draw(&one)?,
                    };
                    files::write_atomically(out.join(format!("{index:06}.png")), &png)?;
                }
            }
        }
        Form::Picture => files::write_atomically(out, &draw(samples)?)?,
        Form::Showers => {
            let values = show::values(samples)?;
            let classes =
                labels.map(|labels| labels.to_vec::<u32>()).transpose()?.unwrap_or_default();
            files::write_atomically(out, &hdf5::to_bytes(&values, &classes)?)?;
        }
        Form::Numbers => {
            let mut tensors =
                vec![("image".to_owned(), samples.clone()), ("z".to_owned(), noise.clone())];
            tensors.extend(labels.map(|labels| ("label".to_owned(), labels)));
            files::write_atomically(out, &weights::to_bytes(&tensors, &[])?)?;
        }
    }
    output::print(&format!("{}\n", out.display()))
}
