//! `belamy kernels`: CUDA kernels compiled ahead of time.

use crate::failure::{Failure, Result};
use crate::output;
use std::path::PathBuf;

/// Compiles the CUDA kernels ahead of time, on a machine with NVRTC and no GPU, for machines with a driver alone.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Example:\n  belamy kernels build --arch sm_80,sm_90a --out kernels.built"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Build(Build),
}

/// Compiles every kernel for every architecture into a folder; BELAMY_KERNELS=FOLDER then uses them.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  belamy kernels build --arch sm_80,sm_90a --out kernels.built")]
struct Build {
    /// The architectures, such as sm_80,sm_90a.
    #[arg(long, value_name = "ARCH", value_delimiter = ',', required = true)]
    arch: Vec<String>,
    /// The folder that is written.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Command::Build(build) = &arguments.command;
    belamy_cuda::compile::usable().map_err(Failure::new)?;
    let architectures: Vec<&str> = build.arch.iter().map(String::as_str).collect();
    let built = belamy_cuda::compile::build(&architectures, &build.out).map_err(Failure::new)?;
    let messages: Vec<&str> =
        built.iter().map(|built| built.log.trim()).filter(|log| !log.is_empty()).collect();
    let mut text = format!(
        "{} families of kernels for {} in {}: set BELAMY_KERNELS to that folder where they run\n",
        built.len() / architectures.len().max(1),
        build.arch.join(", "),
        build.out.display()
    );
    for message in messages {
        text.push_str(message);
        text.push('\n');
    }
    output::print(&text)
}
