//! `belamy slurm`: a batch script of a training that may be stopped and queued again at any time.

use crate::failure::{Failure, Result};
use crate::output;
use belamy_gan::recipe::Recipe;
use std::fmt::Write;
use std::path::PathBuf;

/// Writes a SLURM batch script that trains a recipe, and goes on when it is queued again.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy slurm dcgan64 --tasks 4 --cpus 8 --time 12:00:00 -- --data /scratch/faces --batch 256 > faces.sbatch\n  sbatch faces.sbatch\n\nA minute before the time is over, or when the job is pre-empted, all ranks stop after the same step, save, and the job\nis queued again; it goes on with the same bytes. What follows -- is given to belamy train."
)]
pub(crate) struct Arguments {
    /// The recipe; `belamy recipes` lists them.
    recipe: String,
    /// Processes, on as many nodes as SLURM chooses; more than one needs a belamy built with --features mpi.
    #[arg(long, value_name = "N", default_value_t = 1)]
    tasks: usize,
    /// Processor cores, and threads, of each process.
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: usize,
    /// The time limit, as SLURM writes it: minutes, hours:minutes:seconds or days-hours.
    #[arg(long, value_name = "TIME", default_value = "01:00:00")]
    time: String,
    /// What starts the processes: srun, or mpirun where SLURM and MPI do not know each other.
    #[arg(long, default_value = "srun")]
    launcher: String,
    /// The run's folder, on a file system that all nodes see; runs/RECIPE if not given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Another line of the script's head, such as partition=gpu, account=physics or gpus-per-task=1.
    #[arg(long, value_name = "OPTION")]
    sbatch: Vec<String>,
    /// What belamy train is given besides.
    #[arg(last = true, value_name = "TRAIN FLAGS")]
    train: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    Recipe::named(&arguments.recipe)?;
    check(arguments)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find this program: {error}")))?;
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| PathBuf::from(format!("runs/{}", arguments.recipe)));
    let out = std::path::absolute(&out)
        .map_err(|error| Failure::new(format!("{}: {error}", out.display())))?;
    let [program, out] = [program, out].map(|path| path.to_string_lossy().into_owned());
    let mut words = vec![program, "train".to_owned(), arguments.recipe.clone()];
    words.extend(["--resume", "auto", "--out", &out, "--threads"].map(str::to_owned));
    words.push(arguments.cpus.to_string());
    words.extend(arguments.train.iter().cloned());
    // A typing mistake is found now, not after a night in the queue.
    crate::parse(&words).map_err(|error| Failure::usage(crate::what_is_wrong(&error)))?;
    output::print(&script(arguments, &words, &out))
}

fn check(arguments: &Arguments) -> Result<()> {
    let refuse = |message: String| Err(Failure::usage(message));
    for (flag, number) in [("--tasks", arguments.tasks), ("--cpus", arguments.cpus)] {
        if number == 0 {
            return refuse(format!("{flag} 0: must be above 0"));
        }
    }
    let is_time = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || c == ':' || c == '-')
    };
    if !is_time(&arguments.time) {
        let time = &arguments.time;
        return refuse(format!("--time {time}: is no time, such as 30, 12:00:00 or 2-00"));
    }
    if !["srun", "mpirun"].contains(&arguments.launcher.as_str()) {
        return refuse(format!("--launcher {}: there are srun and mpirun", arguments.launcher));
    }
    let set = ["ntasks", "cpus-per-task", "time", "signal", "requeue", "open-mode", "output"];
    for line in &arguments.sbatch {
        let option = line.trim_start_matches('-').split(['=', ' ']).next().unwrap_or_default();
        if set.contains(&option) || option.is_empty() || line.contains('\n') {
            return refuse(format!("--sbatch {line:?}: the script sets {} itself", set.join(", ")));
        }
    }
    if arguments.tasks > 1 && !cfg!(feature = "mpi") {
        return refuse(format!(
            "--tasks {}: this belamy was built without MPI: build it with cargo build --release --features mpi",
            arguments.tasks
        ));
    }
    Ok(())
}

/// The script. Signals reach the processes of an `srun` directly; those of an `mpirun` only through the shell that
/// started it, so that there the shell asks for them and passes them on.
fn script(arguments: &Arguments, words: &[String], out: &str) -> String {
    let is_srun = arguments.launcher == "srun";
    let signal = if is_srun { "USR2@90" } else { "B:USR2@90" };
    let mut text = String::from("#!/bin/bash\n");
    let mut head = vec![
        format!("job-name=belamy-{}", arguments.recipe),
        format!("ntasks={}", arguments.tasks),
        format!("cpus-per-task={}", arguments.cpus),
        format!("time={}", arguments.time),
        format!("signal={signal}"),
        "requeue".to_owned(),
        "open-mode=append".to_owned(),
        format!("output={}.log", out.replace('%', "%%")),
    ];
    head.extend(arguments.sbatch.iter().map(|line| line.trim_start_matches('-').to_owned()));
    for line in head {
        // Writing into a string does not fail.
        let _ = writeln!(text, "#SBATCH --{line}");
    }
    let command: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let command = command.join(" ");
    let folder = quoted(out);
    let _ = write!(text, "\nmkdir -p \"$(dirname {folder})\"\n");
    let launch = if is_srun {
        "srun --kill-on-bad-exit=0".to_owned()
    } else {
        text.push_str(
            "# mpirun gives a process two seconds after SIGTERM unless told otherwise.\n",
        );
        text.push_str("export OMPI_MCA_odls_base_sigkill_timeout=30\n");
        format!("mpirun -n {}", arguments.tasks)
    };
    let _ = writeln!(text, "{launch} {command} &\njob=$!");
    if is_srun {
        text.push_str("trap '' USR2 TERM\n");
    } else {
        text.push_str("trap 'kill -USR2 $job' USR2\ntrap 'kill -TERM $job' TERM\n");
    }
    text.push_str(
        "# A signal ends the wait, not the job.\n\
         wait $job; code=$?\n\
         while kill -0 $job 2>/dev/null; do wait $job; code=$?; done\n\
         \n\
         # 75: it has saved, and is to go on.\n\
         if [ $code = 75 ]; then\n\
         \x20   scontrol requeue \"$SLURM_JOB_ID\"\n\
         \x20   exit 0\n\
         fi\n\
         exit $code\n",
    );
    text
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("runs/a-1"), "runs/a-1");
        assert_eq!(quoted("my run's $HOME"), r"'my run'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
