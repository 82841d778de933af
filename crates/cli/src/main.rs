//! `belamy`: trains, checks and samples generative adversarial networks. The only place that prints.
//!
//! | file | what it holds |
//! |---|---|
//! | `main` | the list of commands, and how the program ends |
//! | `commands` | a file a command |
//! | `device` | finding the device that `--device` names |
//! | `output` | results to stdout, tables |
//! | `progress` | what people see while they wait |
//! | `ranks`, `stop` | the processes of a job, and who may ask it to stop |
//! | `variables` | every flag by an environment variable |

mod commands;
mod device;
mod failure;
#[cfg(feature = "faults")]
mod faults;
mod output;
mod progress;
mod ranks;
mod stop;
mod variables;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::Failure;
use std::ffi::OsString;
use std::process::ExitCode;

/// Trains, checks and samples generative adversarial networks on kernels written by hand.
#[derive(Parser)]
#[command(name = "belamy", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Start with:\n  belamy train            the MNIST MLP GAN on the built-in digits, about three minutes\n  belamy recipes          what else there is to train\n\nEvery flag can be given by a variable: BELAMY_TRAIN_LOG_EVERY=5 for belamy train --log-every 5"
)]
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
    Evaluate(commands::evaluate::Arguments),
    Play(commands::play::Arguments),
    Import(commands::import::Arguments),
    Export(commands::export::Arguments),
    Devices(commands::devices::Arguments),
    #[cfg(feature = "cuda")]
    Kernels(commands::kernels::Arguments),
    Check(commands::check::Arguments),
    Bench(commands::bench::Arguments),
    Op(commands::op::Arguments),
    Lab(commands::lab::Arguments),
    Slurm(commands::slurm::Arguments),
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let arguments = match parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let result = match arguments.command {
        Command::Train(arguments) => commands::train::run(arguments),
        Command::Recipes(arguments) => commands::recipes::run(&arguments),
        Command::Show(arguments) => commands::show::run(&arguments),
        Command::Sample(arguments) => commands::sample::run(&arguments),
        Command::Evaluate(arguments) => commands::evaluate::run(&arguments),
        Command::Play(arguments) => commands::play::run(&arguments),
        Command::Import(arguments) => commands::import::run(&arguments),
        Command::Export(arguments) => commands::export::run(&arguments),
        Command::Devices(arguments) => commands::devices::run(&arguments),
        #[cfg(feature = "cuda")]
        Command::Kernels(arguments) => commands::kernels::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Op(arguments) => commands::op::run(&arguments),
        Command::Lab(arguments) => commands::lab::run(&arguments),
        Command::Slurm(arguments) => commands::slurm::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// What a line of words asks for, with what the environment adds.
fn parse<W: Into<OsString> + Clone>(words: &[W]) -> Result<Arguments, clap::Error> {
    let command = variables::with_variables(Arguments::command());
    Arguments::from_arg_matches(&command.try_get_matches_from(words.iter().cloned())?)
}

/// Prints the help that was asked for, or says in two lines what is wrong with the arguments.
fn refuse(error: &clap::Error) -> ExitCode {
    let help = [
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayVersion,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    if help.contains(&error.kind()) {
        // A reader that has gone away is no reason to fail.
        let _ = error.print();
        return ExitCode::from(error.exit_code() as u8);
    }
    Failure::usage(format!("{}\nwith --help it tells what there is", what_is_wrong(error))).report()
}

/// What is wrong with a line of words, in a line.
fn what_is_wrong(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let what = text.split("\nUsage:").next().unwrap_or(&text);
    let what =
        what.split("\nFor more information").next().unwrap_or(what).trim_start_matches("error:");
    let what: Vec<&str> = what.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let source = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => variables::source(flag),
        _ => None,
    };
    let source = source.map_or(String::new(), |name| format!(" (from {name})"));
    format!("{}{source}", what.join("; ").replace(":; ", ": "))
}
