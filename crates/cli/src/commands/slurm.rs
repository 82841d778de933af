//! `belamy slurm`: a batch script of a training that may be stopped and queued again at any time.

use crate::failure::{Failure, Result};
use crate::output;
use belamy_gan::recipe::Recipe;
use std::fmt::Write;
use std::path::PathBuf;

/// Writes a SLURM batch script that trains a recipe, and goes on when it is queued again.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy slurm dcgan64 --tasks 4 --cpus 8 --time 12:00:00 -- --data /scratch/faces --batch 256 > faces.sbatch\n  sbatch faces.sbatch\n\nNinety seconds before the time is over, or when the job is pre-empted, all ranks stop after the same step, save, and the job\nis queued again; it goes on with the same bytes. What follows -- is given to belamy train."
)]
pub(crate) struct Arguments {
    /// The recipe; `belamy recipes` lists them.
    recipe: String,
    /// Processes, on as many nodes as SLURM chooses.
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
    /// How srun brings processes together: none, and they find each other by TCP, or an MPI's way, of which `srun --mpi=list`
    /// lists what there is. pmix in a belamy built with --features mpi, else none.
    #[arg(long, value_name = "TYPE")]
    mpi: Option<String>,
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
    let by_mpi = arguments.launcher == "mpirun" || mpi(arguments) != "none";
    if arguments.tasks > 1 && by_mpi && !cfg!(feature = "mpi") {
        return refuse(format!(
            "--tasks {}: this belamy was built without MPI: let srun start it with --mpi none, or build it with cargo \
             build --release --features mpi",
            arguments.tasks
        ));
    }
    Ok(())
}

/// How srun brings processes together.
fn mpi(arguments: &Arguments) -> &str {
    let usual = if cfg!(feature = "mpi") { "pmix" } else { "none" };
    arguments.mpi.as_deref().unwrap_or(usual)
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
    let (tasks, cpus) = (arguments.tasks, arguments.cpus);
    // The first thing it does: until then a signal ends it.
    text.push_str("\ntold=\ntrap told=1 USR2\ntrap : TERM\n");
    let _ = writeln!(text, "mkdir -p \"$(dirname {})\"", quoted(out));
    text.push_str(
        "# Older SLURMs do not say when the job's time is over.\n\
         if [ -z \"$SLURM_JOB_END_TIME\" ]; then\n\
         \x20   end=$(SLURM_TIME_FORMAT=standard squeue -h -j \"$SLURM_JOB_ID\" -o %e)\n\
         \x20   SLURM_JOB_END_TIME=$(date -d \"${end:-unknown}\" +%s 2>/dev/null) && export SLURM_JOB_END_TIME\n\
         fi\n",
    );
    let launch = if is_srun {
        // What sbatch was told of cpus does not reach srun; nor does every SLURM bring MPI processes together unasked.
        let mpi = if tasks > 1 { format!(" --mpi={}", mpi(arguments)) } else { String::new() };
        format!("srun --kill-on-bad-exit=0 --cpus-per-task={cpus}{mpi}")
    } else {
        text.push_str(
            "# After SIGTERM, and after the first process that ends with 75, mpirun waits twice this long, in seconds. A second\n\
             # SIGTERM would end it at once, and SLURM sends it one.\n\
             export OMPI_MCA_odls_base_sigkill_timeout=5\n",
        );
        format!("mpirun --bind-to none -n {tasks}")
    };
    let _ = write!(text, "{launch} {command} &\njob=$!\n");
    text.push_str(
        "# A signal ends the wait, not the job. It is passed on until the job has ended: an mpirun that has not started its\n\
         # processes yet passes it to nobody.\n\
         while\n\
         \x20   while [ -n \"$told\" ] && kill -USR2 $job 2>/dev/null; do sleep 2; done\n\
         \x20   wait $job; code=$?\n\
         \x20   kill -0 $job 2>/dev/null\n\
         do :; done\n\
         wait $job; code=$?\n\
         \n\
         # 75: it has saved, and is to go on. 140: SIGUSR2 came before it listened. 0: it has come to its end; or SLURM, which says\n\
         # no more than SIGTERM where it is not told to, pre-empts it. Whoever was cancelled is not RUNNING, and stays away.\n\
         case \"$code $(scontrol show job --oneliner \"$SLURM_JOB_ID\")\" in\n\
         \x20   75\\ *JobState=RUNNING* | 140\\ *JobState=RUNNING* | 0\\ *JobState=RUNNING*\\ PreemptTime=[0-9]* | *Reason=TimeLimit*)\n\
         \x20       scontrol requeue \"$SLURM_JOB_ID\"\n\
         \x20       exit 0 ;;\n\
         esac\n\
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
