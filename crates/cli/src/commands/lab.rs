//! `belamy lab`: somebody's own kernel, checked against the oracle and timed beside Belamy's.

use super::bench::{Printed as Table, Progress, recipes, table};
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::Waiting;
use belamy_benches::session::{self, Kernels, Options, Report};
use belamy_gan::recipe::suggestion;
use belamy_lab::language::Language;
use belamy_lab::stranger::{For, On, Refusal, open};
use belamy_lab::verdict::{self, Verdict};
use belamy_lab::{interface, judge, template};
use belamy_tensor::kernel::KernelId;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Checks a kernel of your own against the oracle, and times it beside Belamy's.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy lab --template conv2d_forward --lang cuda > my_conv.cu\n  belamy lab my_conv.cu --op conv2d_forward\n  belamy lab my_conv.wgsl --op conv2d --recipe dcgan64 --seconds 30\n  belamy lab my_conv.so --op conv2d --json\n\nThe kernel takes the place of Belamy's own in every case of the table that runs it: its values, the same again, and\nthe gradients it is part of are compared with the oracle's. Then both are timed at the shapes of the recipes' steps,\nwith their share of what the ceilings allow. It runs in a process of its own: one that is wrong, reads beyond its\noperands, never ends or crashes gets a verdict, and exit code 1.\n\nA .cu file is checked on the processor in a GPU's place if there is a C++ compiler (bounds, barriers, races), and on\nthe GPU if there is one; a .wgsl file on the first adapter; a shared library (.so, .dylib) on the processor, with\npages around its operands that must not be touched.\n\nIt runs with your rights, though: run nobody's kernel that you would not run otherwise."
)]
pub(crate) struct Arguments {
    /// The kernel: a .cu or .wgsl file, or a shared library.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// In the place of which kernel; conv2d_forward is conv2d.
    #[arg(long, value_name = "KERNEL")]
    op: Option<String>,
    /// Print a file to begin with, and do nothing else; `list` prints the kernels' names.
    #[arg(long, value_name = "KERNEL", conflicts_with_all = ["file", "op"])]
    template: Option<String>,
    /// The template's language: cuda, wgsl, c or rust.
    #[arg(long, value_name = "LANGUAGE", requires = "template")]
    lang: Option<String>,
    /// Check and time it on this device alone: cpu, webgpu, cuda or cuda-shim.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// How many seconds one call may take before it counts as endless.
    #[arg(long, value_name = "S", default_value_t = 30)]
    patience: u64,
    /// About how many seconds the timing may take; 0 leaves it out.
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,
    /// Time it at the shapes of this recipe only; may be given several times.
    #[arg(long, value_name = "RECIPE")]
    recipe: Vec<String>,
    /// Print a line of JSON, and leave the timing out.
    #[arg(long)]
    json: bool,
    /// What this process is for, if it was begun by another of these.
    #[arg(long, hide = true)]
    child: Option<Child>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Child {
    Checks,
    Times,
}

/// The verdict on one device.
#[derive(Serialize)]
struct Judged {
    device: &'static str,
    #[serde(flatten)]
    verdict: Verdict,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    file: &'a Path,
    kernel: &'static str,
    verdicts: &'a [Judged],
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(name) = &arguments.template {
        return print_template(name, arguments.lang.as_deref());
    }
    let (Some(file), Some(op)) = (&arguments.file, &arguments.op) else {
        let message = "lab wants FILE and --op KERNEL, or --template KERNEL; --help has examples";
        return Err(Failure::usage(message));
    };
    let kernel = kernel(op, "--op")?;
    let Some(language) = Language::of(file) else {
        let message =
            format!("{}: its name must end in .cu, .wgsl, .so, .dylib or .dll", file.display());
        return Err(Failure::usage(message));
    };
    if !file.is_file() {
        return Err(Failure::new(format!("{}: there is no such file", file.display())));
    }
    let places = match &arguments.device {
        None => On::of(language).map_err(Failure::new)?,
        Some(name) => vec![place(name, language)?],
    };
    match arguments.child {
        None => {}
        Some(Child::Checks) => {
            // SAFETY: this process was begun for it and does nothing else.
            verdict::answer(&unsafe { judge::judge(file, kernel, places[0]) });
            return Ok(());
        }
        Some(Child::Times) => return time_here(arguments, file, kernel, places[0]),
    }
    // Named wrongly, they are refused before anything is done.
    recipes(&arguments.recipe, None)?;
    let patience = Duration::from_secs(arguments.patience.clamp(1, 86_400));
    let mut judged = Vec::new();
    for on in places {
        let mut waiting = Waiting::on("checking");
        let mut command = child(arguments, file, op, on, "checks")?;
        let verdict = verdict::ask(&mut command, kernel, patience, |done, total| {
            waiting.reached(done, total)
        });
        let verdict = verdict.map_err(cannot_begin)?;
        drop(waiting);
        let is_right = verdict.is_right();
        if !arguments.json {
            output::print(&format!("{} {}: {verdict}\n", on.name(), kernel.name()))?;
        }
        judged.push(Judged { device: on.name(), verdict });
        if !is_right {
            break;
        }
    }
    if arguments.json {
        output::print_json(&Printed { file, kernel: kernel.name(), verdicts: &judged })?;
    }
    let Some(last) = judged.last().filter(|last| last.verdict.is_right()) else {
        return Err(Failure::new(format!("{} is not accepted", file.display())));
    };
    if arguments.json || arguments.seconds == 0 {
        return Ok(());
    }
    let on = On::named(last.device).filter(|on| on.can_be_timed());
    let Some(on) = on else {
        return output::print(
            "not timed: there is no GPU, and the processor's time in its place says nothing\n",
        );
    };
    let status = child(arguments, file, op, on, "times")?.status().map_err(cannot_begin)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("the timing ended with {status}")))
}

fn cannot_begin(error: std::io::Error) -> Failure {
    Failure::new(format!("a process for the kernel cannot be begun: {error}"))
}

/// This program again, for a kernel alone.
fn child(arguments: &Arguments, file: &Path, op: &str, on: On, what: &str) -> Result<Command> {
    let program = std::env::current_exe().map_err(cannot_begin)?;
    let mut command = Command::new(program);
    command.arg("lab").arg(file).args(["--op", op, "--device", on.name(), "--child", what]);
    if what == "times" {
        command.args(["--seconds", &arguments.seconds.to_string()]);
        command.args(arguments.recipe.iter().flat_map(|recipe| ["--recipe", recipe.as_str()]));
    } else {
        // What a panic would say is in the verdict.
        command.stderr(Stdio::null());
    }
    Ok(command)
}

/// The kernel of a name.
fn kernel(name: &str, flag: &str) -> Result<KernelId> {
    interface::named(name).ok_or_else(|| {
        let known = KernelId::ALL.iter().map(|kernel| kernel.name()).collect();
        Failure::usage(format!(
            "{flag} {name}: there is no such kernel; {}",
            suggestion(name, known)
        ))
    })
}

/// The device of a name, where a kernel of this language can run there.
fn place(name: &str, language: Language) -> Result<On> {
    let fits = |on: &On| match language {
        Language::Cuda => matches!(on, On::Cuda | On::Shim),
        Language::Wgsl => *on == On::WebGpu,
        Language::C | Language::Rust => *on == On::Cpu,
    };
    On::named(name).filter(fits).ok_or_else(|| {
        Failure::usage(format!(
            "--device {name}: such a file runs on {}",
            match language {
                Language::Cuda => "cuda or cuda-shim",
                Language::Wgsl => "webgpu",
                Language::C | Language::Rust => "cpu",
            }
        ))
    })
}

fn print_template(name: &str, lang: Option<&str>) -> Result<()> {
    if name == "list" {
        let names = KernelId::ALL.iter().map(|kernel| format!("{}\n", kernel.name()));
        return output::print(&names.collect::<String>());
    }
    let kernel = kernel(name, "--template")?;
    let names: Vec<&str> = Language::ALL.iter().map(|language| language.name()).collect();
    let Some(lang) = lang else {
        return Err(Failure::usage(format!("--template wants --lang {}", names.join(", "))));
    };
    let language = Language::ALL.into_iter().find(|language| language.name() == lang);
    let language = language.ok_or_else(|| {
        Failure::usage(format!(
            "--lang {lang}: there is no such language; {}",
            suggestion(lang, names)
        ))
    })?;
    output::print(&template::template(kernel, language).map_err(Failure::usage)?)
}

/// In a child: times the kernel beside Belamy's, and prints the table.
fn time_here(arguments: &Arguments, file: &Path, kernel: KernelId, on: On) -> Result<()> {
    // SAFETY: this process was begun for it and does nothing else.
    let theirs = unsafe { open(file, kernel, on, For::Times) };
    let theirs =
        theirs.map_err(|(Refusal::Kernel(why) | Refusal::Machine(why))| Failure::new(why))?;
    let ours = crate::device::find(on.name())?;
    let options = Options {
        recipes: recipes(&arguments.recipe, None)?,
        steps: false,
        kernels: Kernels::Some(Vec::new(), vec![kernel]),
        seconds: arguments.seconds as f64,
        cold: false,
    };
    let report = session::run(&[ours, theirs], &options, &mut Progress(None))?;
    let report = named(report);
    if report.kernels.is_empty() {
        return output::print("not timed: no step of these recipes launches it\n");
    }
    output::print(&table::text(&Table { report: &report, skipped: Vec::new() }, false))?;
    match report.wrong() {
        0 => Ok(()),
        wrong => Err(Failure::new(format!("{wrong} shapes came out wrong: they have no time"))),
    }
}

/// The report with the second device under a name that tells it from the first.
fn named(mut report: Report) -> Report {
    const YOURS: &str = "yours";
    for cells in report.kernels.iter_mut().map(|row| &mut row.devices) {
        for cell in cells.iter_mut().skip(1) {
            cell.device = YOURS.to_owned();
        }
    }
    for line in report.ceilings.iter_mut().skip(1) {
        line.device = YOURS.to_owned();
    }
    // Which others no step launches is not what was asked.
    report.in_no_step.clear();
    report
}
