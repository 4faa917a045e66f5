//! Which machines and images have objects on the bus. Those of machines come and go with them; those of images are looked at
//! whenever somebody asks for images, because images come and go without a word.

use std::collections::HashSet;

use zbus::{ObjectServer, OwnedObjectPath};

use super::face::Face;
use super::image::Image;
use super::machine::Machine;
use super::path;
use super::properties;
use super::refusal::Refusal;

fn failed(error: zbus::Error) -> Refusal {
    Refusal::failed(&error)
}

/// Makes the object of a machine, if it has none.
pub(super) async fn show_machine(server: &ObjectServer, face: &Face, name: &str) -> Result<OwnedObjectPath, Refusal> {
    let path = path::of_machine(name);
    let machine = Machine { face: face.clone(), name: name.to_owned() };
    // Nobody is told of an object that is half made.
    let _making = face.shown.lock().await;
    if server.at(&path, machine).await.map_err(failed)?.is_none() {
        properties::serve::<Machine>(server, &path).await.map_err(failed)?;
    }
    Ok(path)
}

/// Takes away the object of a machine, if it has one.
pub(super) async fn hide_machine(server: &ObjectServer, face: &Face, name: &str) -> Result<(), Refusal> {
    let _making = face.shown.lock().await;
    match server.remove::<Machine, _>(&path::of_machine(name)).await {
        Err(zbus::Error::InterfaceNotFound) => Ok(()),
        other => other.map(drop).map_err(failed),
    }
}

/// Makes the object of an image, if it has none.
pub(super) async fn show_image(server: &ObjectServer, face: &Face, name: &str) -> Result<OwnedObjectPath, Refusal> {
    let path = path::of_image(name);
    let image = Image { face: face.clone(), name: name.to_owned() };
    let mut shown = face.shown.lock().await;
    if server.at(&path, image).await.map_err(failed)?.is_none() {
        properties::serve::<Image>(server, &path).await.map_err(failed)?;
        shown.insert(name.to_owned());
    }
    Ok(path)
}

/// Makes the objects of these images, and takes away those of all others.
pub(super) async fn show_images(
    server: &ObjectServer,
    face: &Face,
    images: &[::image::pool::Image],
) -> Result<(), Refusal> {
    let names: HashSet<&str> = images.iter().map(|image| image.name.as_str()).collect();
    let mut shown = face.shown.lock().await;
    let gone: Vec<String> = shown.iter().filter(|name| !names.contains(name.as_str())).cloned().collect();
    for name in gone {
        match server.remove::<Image, _>(&path::of_image(&name)).await {
            Ok(_) | Err(zbus::Error::InterfaceNotFound) => shown.remove(&name),
            Err(error) => return Err(failed(error)),
        };
    }
    drop(shown);
    for name in names {
        show_image(server, face, name).await?;
    }
    Ok(())
}
