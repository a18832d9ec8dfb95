//! Trainings that a device does not let finish.

use std::cell::Cell;

use anyhow::anyhow;
use burn::backend::Dispatch;

use super::*;
use crate::data::{Data, DataOptions, ShapesOptions, open};
use crate::device::fault::caught;
use crate::device::{Choice, choose};
use crate::kernels::Memory;
use crate::models::Head;
use crate::models::backbones::Backbone;
use crate::recipe::Recipe;

fn data() -> Data {
    let shapes = ShapesOptions {
        size: 48,
        train: 4,
        val: 1,
        ..ShapesOptions::default()
    };
    open(&DataOptions::built_in(0, shapes)).unwrap()
}

/// Trains a classifier for six steps in `folder`, with a checkpoint at every second; `before` each step comes what may
/// go wrong.
fn trained(folder: &Path, before: impl Fn(usize) -> Result<()>) -> Result<Vec<f32>> {
    let sets = [
        "classify.epochs=3",
        "classify.batch=2",
        "classify.checkpoint_every=2",
        "classify.augment.crop=32",
    ];
    let recipe = Recipe::load("smoke", &sets.map(String::from))?;
    let (data, device) = (data(), Device::flex());
    let classes = data.classes.len();
    let network = Network {
        backbone: Backbone::named("nano", 1)?,
        head: Head::Cam { classes },
    };
    let fit = Fit {
        label: "test",
        folder,
        initial: network.init(1, &device)?,
        network,
        training: &recipe.classify,
        input: recipe.network_input("nano")?,
        split: &data.train,
        classes,
        labels: None,
        order: Order::Epochs,
        seed: 1,
        device: &device,
    };
    let parameters = fit.run(|network, forward, images, batch| {
        before(batch.step)?;
        Ok(vec![("mean", network.classifier()?.logits(forward, images).mean())])
    })?;
    let values = parameters.0.values().map(|p| p.value.to_vec());
    Ok(values.collect::<Result<Vec<_>>>()?.concat())
}

#[test]
fn what_a_fault_of_the_device_cut_short_goes_on_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole", "cut"].map(|name| dir.path().join(name));
    for folder in [&whole, &cut] {
        std::fs::create_dir(folder).unwrap();
    }
    let expected = trained(&whole, |_| Ok(())).unwrap();
    let faults: [fn() -> Result<()>; 2] = [
        || Err(anyhow!("the device was lost: Destroyed")),
        || panic!("wgpu error: Out of Memory"),
    ];
    for (fault, at) in faults.iter().zip([3, 5]) {
        let error = caught(|| trained(&cut, |step| if step == at { fault() } else { Ok(()) }));
        assert!(Fault::in_error(&error.unwrap_err()).is_some());
        let checkpoint = TrainingState::load(&cut.join(CHECKPOINT)).unwrap();
        assert_eq!(checkpoint_step(&checkpoint, &cut).unwrap(), at - 1);
    }
    assert_eq!(trained(&cut, |_| Ok(())).unwrap(), expected);
}

#[test]
fn a_full_device_goes_on_with_gradient_checkpointing_to_the_same_result() {
    let device = choose(Choice::Vulkan).unwrap().device;
    let small = Tensor::<1>::ones([1], &device);
    let room = Dispatch::largest_buffer(small.into_dispatch());
    let dir = tempfile::tempdir().unwrap();
    let [roomy, full] = ["roomy", "full"].map(|name| dir.path().join(name));
    for folder in [&roomy, &full] {
        std::fs::create_dir(folder).unwrap();
    }
    let attempts = Cell::new(0);
    let ours = trained(&full, |step| {
        attempts.set(attempts.get() + 1);
        if step == 3 && attempts.get() == 4 {
            download(Tensor::<1>::ones([room / 2], &device))?;
        }
        Ok(())
    });
    let ours = ours.unwrap();
    assert_eq!(attempts.get(), 6 + 1);
    assert_eq!(ours, trained(&roomy, |_| Ok(())).unwrap());
    let steps = |folder: &Path| std::fs::read_to_string(folder.join(METRICS)).unwrap().lines().count();
    assert_eq!(steps(&full), steps(&roomy));
}

#[test]
fn what_trains_and_how_fast_is_the_released_codes() {
    let mut training = Recipe::load("vgg16", &[]).unwrap().affinity.training;
    let network = |backbone: &str, head| Network {
        backbone: Backbone::named(backbone, 32).unwrap(),
        head,
    };
    let channels = [64, 128, 256];
    let affinity = network("vgg16", Head::Affinity { channels });
    let group = |name: &str, role| group(&affinity, &training.optimizer, name, role);
    for (name, role, rate, decay) in [
        ("conv5_1.weight", Role::Kernel, 1.0, 5e-4),
        ("conv5_1.bias", Role::Bias, 2.0, 0.0),
        ("f8_3.weight", Role::Kernel, 10.0, 5e-4),
        ("gn8_3.weight", Role::Scale, 1.0, 5e-4),
        ("gn8_3.bias", Role::Shift, 2.0, 0.0),
    ] {
        assert_eq!(group(name, role), Group { rate, decay }, "{name}");
    }
    let joint = network("resnet38", Head::Joint { classes: 20 });
    let trained = |training: &Training, name: &str, role| trains_in(training, 100, &joint, name, role);
    let (first, norm) = ("conv1a.weight", "b4.bn_branch2a.weight");
    assert!(!trained(&training, first, Role::Kernel));
    training.whole = true;
    assert!(trained(&training, first, Role::Kernel));
    assert!(!trained(&training, norm, Role::Scale));
    training.head_alone = true;
    assert!(!trained(&training, first, Role::Kernel));
    assert!(trained(&training, "fc8.weight", Role::Kernel));
}

#[test]
fn a_rate_in_steps_falls_by_epochs() {
    let training = Recipe::load("mcis-vgg16", &[]).unwrap().coattend.training;
    let schedule = schedule(&training);
    // 15 epochs, a tenth after every 6 of them.
    for (step, expected) in [(0, 1.0), (599, 1.0), (600, 0.1), (1200, 0.01), (1499, 0.01)] {
        let factor = schedule.factor(step, 1500);
        assert!((factor / expected - 1.0).abs() < 1e-4, "{step}: {factor}");
    }
}
