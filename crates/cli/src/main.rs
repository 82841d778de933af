//! `belamy`: trains, checks and samples generative adversarial networks. The only place that prints.
//!
//! | file | what it holds |
//! |---|---|
//! | `main` | the list of commands, and how the program ends |
//! | `commands` | a file a command |
//! | `device` | finding the device that `--device` names |
//! | `output` | results to stdout, tables |
//! | `progress` | what people see while they wait |

mod commands;
mod device;
mod failure;
mod output;
mod progress;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Trains, checks and samples generative adversarial networks on kernels written by hand.
#[derive(Parser)]
#[command(name = "belamy", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Start with:\n  belamy train            the MNIST MLP GAN on the built-in digits, about three minutes\n  belamy recipes          what else there is to train")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(commands::train::Arguments),
    Recipes(commands::recipes::Arguments),
    Show(commands::show::Arguments),
    Sample(commands::sample::Arguments),
    Import(commands::import::Arguments),
    Devices(commands::devices::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Train(arguments) => commands::train::run(arguments),
        Command::Recipes(arguments) => commands::recipes::run(&arguments),
        Command::Show(arguments) => commands::show::run(&arguments),
        Command::Sample(arguments) => commands::sample::run(&arguments),
        Command::Import(arguments) => commands::import::run(&arguments),
        Command::Devices(arguments) => commands::devices::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
