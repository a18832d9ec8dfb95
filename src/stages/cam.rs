//! Class activation maps of the training images (AffinityNet Sec. 3.1, Eq. 1).

mod file;
mod related;

use anyhow::{Result, ensure};

use crate::inference::{Trained, batches, download_maps, multi_scale, passes};
use crate::models::Head;
use crate::pipeline::{Context, Definition, Product, Purpose, Stage, Workload};
use crate::progress;

/// The stage.
pub const STAGE: Stage = Stage::new(&Definition {
    name: "cam",
    folder: "cam",
    command: Some("Stage 2: class activation maps of the training images"),
    product: Product::ClassMaps,
    follows_objective: false,
    cost: |on| {
        let settings = &on.recipe.cam;
        Workload::passes(&settings.scales, settings.flip) * on.all_images()
    },
    work: write,
});

/// Writes `cam/IMAGE.npz` for every training image: one array `[H, W]` in [0, 1] per tagged class, under its mask
/// value. Images whose file exists are kept. A network with co-attention looks at related images too.
fn write(context: &Context) -> Result<()> {
    let trained = context.trained(STAGE, Purpose::ClassMaps)?;
    let file = |image: &str| context.file(STAGE, image);
    match trained.network.head {
        Head::CoAttention { form, .. } if context.recipe.coattend.related > 0 => {
            related::write(context, &trained, form, STAGE.name(), file)
        }
        _ => alone(context, &trained),
    }
}

/// The maps of each image from the image alone.
fn alone(context: &Context, trained: &Trained) -> Result<()> {
    let settings = &context.recipe.cam;
    let split = &context.data.train;
    let file = |i: usize| context.file(STAGE, split.name(i));
    let own = context.own(split);
    let missing: Vec<usize> = own.clone().filter(|&i| !file(i).exists()).collect();
    let classifier = trained.network.classifier()?;
    let bar = progress::bar(missing.len() as u64, "image", STAGE.name());
    batches(
        &missing,
        settings.batch,
        passes(&settings.scales, settings.flip),
        &context.device,
        |i| split.image(i),
        |batch| {
            // Raw maps of all classes at the size that the network sees, `[B, C, h, w]`, at least 0.
            let images = trained.upload(batch.iter().map(|(_, image)| image));
            let maps = download_maps(multi_scale(images, &settings.scales, settings.flip, |x| {
                let maps = classifier.maps(&trained.forward(), x);
                match settings.square_root {
                    true => maps.sqrt(),
                    false => maps,
                }
            }))?;
            for ((i, image), maps) in batch.iter().zip(maps.outer_iter()) {
                file::write(&file(*i), maps, split.tags(*i), image)?;
                bar.inc(1);
            }
            Ok(())
        },
        |i, error| log::warn!("{}: skipped: {error:#}", split.source(i)),
    )?;
    bar.finish();
    ensure!(
        own.is_empty() || own.clone().any(|i| file(i).exists()),
        "no training image could be read: see the warnings above"
    );
    Ok(())
}
