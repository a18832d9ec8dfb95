//! A Vulkan loader and driver on Linux: found, or installed with apt. macOS and Windows bring their own GPU interface.

mod detect;

use std::process::{Command, Stdio};

use crate::cargo::{command_line, run};
use crate::failure::Failure;
use detect::Vulkan;

/// What the loader and Mesa's drivers, the software one included, are called in Debian and Ubuntu.
const PACKAGES: [&str; 2] = ["libvulkan1", "mesa-vulkan-drivers"];

/// How much a task depends on Vulkan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Need {
    /// It runs on the CPU backend.
    None,
    /// It uses a GPU where there is one, and else the CPU backend.
    Optional,
    /// It fails without Vulkan.
    Required,
}

/// Looks for Vulkan on Linux and installs it where it is missing and that is allowed.
///
/// # Errors
/// Vulkan is [`Need::Required`], and neither there nor installable; the message has the line to run.
pub fn ensure(need: Need) -> Result<(), Failure> {
    if need == Need::None || !cfg!(target_os = "linux") {
        return Ok(());
    }
    match (provide(), need) {
        (Err(why), Need::Optional) => {
            eprintln!("xtask: going on without Vulkan, so weakseg takes its CPU backend: {why}");
            Ok(())
        }
        (result, _) => result,
    }
}

fn provide() -> Result<(), Failure> {
    let Some(missing) = Vulkan::of_this_machine().missing()? else {
        return Ok(());
    };
    let Some(become_root) = become_root() else {
        return Err(Failure::new(format!("{missing} found; {}", by_hand())));
    };
    eprintln!(
        "xtask: {missing} found, which weakseg's GPU kernels run on; installing {} with apt-get (Mesa's drivers also \
         work without a GPU)",
        PACKAGES.join(" and ")
    );
    if let Err(why) = run(&mut apt_get(become_root, &["update"])) {
        // One package source that cannot be reached should not prevent an installation from the others.
        eprintln!("xtask: {why}; trying to install from the package lists that are there");
    }
    let install = [&["install", "--yes", "--no-install-recommends"], &PACKAGES[..]].concat();
    run(&mut apt_get(become_root, &install)).map_err(|why| Failure::new(format!("{why}; {}", by_hand())))?;
    match Vulkan::of_this_machine().missing()? {
        None => Ok(()),
        Some(missing) => Err(Failure::new(format!(
            "{missing} found even after installing {}",
            PACKAGES.join(" ")
        ))),
    }
}

/// What to put before apt-get to run it as root without a question, or `None` where that or apt-get is impossible.
fn become_root() -> Option<&'static [&'static str]> {
    let succeeds = |command: &mut Command| quiet(command).status().is_ok_and(|status| status.success());
    if !succeeds(Command::new("apt-get").arg("--version")) {
        return None;
    }
    let id = quiet(Command::new("id").arg("-u"))
        .stdout(Stdio::piped())
        .output()
        .ok()?;
    if id.stdout.trim_ascii() == b"0" {
        Some(&[])
    } else {
        succeeds(Command::new("sudo").args(["-n", "true"])).then_some(&["sudo", "-n"])
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// apt-get that asks nothing, and keeps the standard output for the results of the task.
fn apt_get(become_root: &[&str], args: &[&str]) -> Command {
    let words = [become_root, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], args].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(std::io::stderr());
    command
}

fn by_hand() -> String {
    let install = command_line(
        Command::new("apt-get")
            .args(["install", "--no-install-recommends"])
            .args(PACKAGES),
    );
    format!(
        "run `sudo apt-get update && sudo {install}` (Fedora: `dnf install vulkan-loader mesa-vulkan-drivers`, Arch: \
         `pacman -S vulkan-icd-loader vulkan-swrast`)"
    )
}
