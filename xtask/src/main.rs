//! `cargo xtask TASK`: the chores of this repository, as a Rust program. `cargo xtask help` lists them.

mod cargo;
mod failure;
mod tasks;
mod vulkan;

use failure::Failure;
use tasks::{TASKS, Task};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Err(failure) = dispatch(&args) {
        eprintln!("xtask: {failure}");
        std::process::exit(failure.code);
    }
}

/// Runs the task that the first argument names, with the rest as its arguments; without arguments prints the help.
fn dispatch(args: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = args.split_first() else {
        print!("{}", overview());
        return Ok(());
    };
    if is_help(name) || name == "help" {
        match rest.first() {
            Some(topic) => print!("{}", find(topic)?.help),
            None => print!("{}", overview()),
        }
        return Ok(());
    }
    let task = find(name)?;
    if rest.first().is_some_and(|arg| is_help(arg)) {
        print!("{}", task.help);
        return Ok(());
    }
    (task.run)(rest)
}

fn is_help(arg: &str) -> bool {
    arg == "-h" || arg == "--help"
}

/// The task of this name, or an error that lists the known ones.
fn find(name: &str) -> Result<&'static Task, Failure> {
    TASKS.iter().find(|task| task.name == name).ok_or_else(|| {
        let known: Vec<&str> = TASKS.iter().map(|task| task.name).collect();
        Failure::usage(format!(
            "there is no task `{name}`; the tasks are {} and help",
            known.join(", ")
        ))
    })
}

fn overview() -> String {
    let mut text = String::from("The chores of this repository.\n\nUsage: cargo xtask TASK [ARGS...]\n\nTasks:\n");
    for task in TASKS {
        text += &format!("  {:10}{}\n", task.name, task.summary);
    }
    text + "\n`cargo xtask help TASK` tells more about one. Everything is built with one profile (release) in one\n\
            target folder, so that no task compiles again what another one has built.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_task_lists_the_known_ones() {
        let failure = dispatch(&["tset".to_string()]).unwrap_err();
        assert_eq!(failure.code, 2);
        let message = failure.to_string();
        assert!(TASKS.iter().all(|task| message.contains(task.name)), "{message}");
    }

    #[test]
    fn help_names_every_task_with_its_usage() {
        let overview = overview();
        for task in TASKS {
            assert!(overview.contains(task.summary));
            assert!(task.help.contains(&format!("Usage: cargo xtask {}", task.name)));
            assert!(dispatch(&[task.name.to_string(), "--help".to_string()]).is_ok());
        }
    }
}
