//! Every flag by an environment variable too: `--log-every` of `belamy train` is `BELAMY_TRAIN_LOG_EVERY`. A flag on the
//! command line counts before its variable.

use clap::{ArgAction, Command};

/// The commands, with a variable for every flag.
pub(crate) fn with_variables(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(&name, |command| {
            command.mut_args(|arg| {
                let asks = matches!(
                    arg.get_action(),
                    ArgAction::Help
                        | ArgAction::HelpShort
                        | ArgAction::HelpLong
                        | ArgAction::Version
                );
                match arg.get_long().map(str::to_owned) {
                    Some(flag) if !asks => arg.env(variable(&name, &flag)).hide_env(true),
                    _ => arg,
                }
            })
        })
    })
}

/// The variable of a command's flag.
pub(crate) fn variable(command: &str, flag: &str) -> String {
    format!("BELAMY_{command}_{flag}").to_uppercase().replace('-', "_")
}

/// The variable that a refused flag's value came from, where it is not on the command line; `flag` as clap writes it:
/// `--steps <N>`.
pub(crate) fn source(flag: &str) -> Option<String> {
    let flag = flag.split([' ', '=']).next()?.strip_prefix("--")?;
    let mut words = std::env::args().skip(1);
    let command = words.find(|word| !word.starts_with('-'))?;
    let given = |word: String| {
        word.strip_prefix("--").is_some_and(|word| word.split('=').next() == Some(flag))
    };
    let name = variable(&command, flag);
    (!words.any(given) && std::env::var_os(&name).is_some()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn a_variable_is_named_after_its_command_and_flag() {
        assert_eq!(variable("train", "log-every"), "BELAMY_TRAIN_LOG_EVERY");
    }
}
