//! `plimsoll-bed image`: an image of files, pushed.

use std::path::Path;

use anyhow::{Context, Result, bail};
use plimsoll_bed::Description;
use plimsoll_bed::build::Part;
use plimsoll_bed::image::Image;
use plimsoll_bed::stop::Stop;

/// Makes the image that the arguments describe, pushes it and prints its name.
pub fn push(arguments: &[String], running: Option<&Description>) -> Result<()> {
    let (reference, rest) = arguments.split_first().context("image needs a reference such as app:1")?;
    let reference = complete(reference, running)?;
    let mut image = Image::new();
    let mut entrypoint: Vec<&str> = Vec::new();
    for pair in rest.chunks(2) {
        let [option, value] = pair else { bail!("{} needs a value", pair[0]) };
        match option.as_str() {
            "--program" => {
                let (file, place) = split(value)?;
                image = image.program(Path::new(file), place);
            }
            "--file" => {
                let (file, place) = split(value)?;
                image = image.file(Path::new(file), place);
            }
            "--entrypoint" => entrypoint.push(value),
            "--user" => image = image.user(value),
            "--env" => {
                let (name, content) = split(value)?;
                image = image.environment(name, content);
            }
            other => bail!("unknown option {other:?}; see plimsoll-bed --help"),
        }
    }
    Part::Node.build(&Stop::default())?;
    image.entrypoint(&entrypoint).push(&reference)?;
    println!("{reference}");
    Ok(())
}

/// Puts the bed's registry before a reference that names none.
fn complete(reference: &str, running: Option<&Description>) -> Result<String> {
    let host = reference.split_once('/').map(|(host, _)| host);
    if host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost") {
        return Ok(reference.to_owned());
    }
    let registry = running.and_then(|bed| bed.registry.as_deref());
    let registry = registry.with_context(|| {
        format!("{reference} names no registry, and no bed with one is up: write HOST/{reference}, or plimsoll-bed up --node")
    })?;
    Ok(format!("{registry}/{reference}"))
}

fn split(value: &str) -> Result<(&str, &str)> {
    value.split_once('=').with_context(|| format!("{value:?} is not of the form LEFT=RIGHT"))
}
