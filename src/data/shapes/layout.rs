//! What is in a picture and where: the background and the objects, in the order in which they cover each other.

use image::{GrayImage, Luma};
use rand::{Rng, RngExt};

use super::object::Object;
use super::scene::Scene;
use super::{CLASSES, ShapesOptions};
use crate::data::MaskValue;

/// The plan of one picture.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub size: u32,
    pub hue_noise: f64,
    pub scene: Scene,
    pub objects: Vec<Object>,
    /// For each pixel, row by row, 0 or 1 + the number of the object that is seen there.
    pub owners: Vec<u8>,
}

impl Layout {
    /// One object, a second in 45 % and a third in 8 % of the pictures, before the scene that goes with the first
    /// object's class in 60 %, else any.
    ///
    /// Positions are drawn again until each object keeps 60 pixels (of 96 x 96) and a third of its marker in sight.
    /// How many objects there are and of which classes is drawn once, so that this does not change their frequencies.
    pub fn random(options: &ShapesOptions, rng: &mut impl Rng) -> Self {
        let chance: f64 = rng.random();
        let count = 1 + usize::from(chance < 0.45) + usize::from(chance < 0.08);
        let classes: Vec<_> = (0..count).map(|_| rng.random_range(0..CLASSES.len())).collect();
        let scenes = Scene::ALL;
        let scene = if rng.random_bool(0.6) {
            scenes[classes[0] % scenes.len()]
        } else {
            scenes[rng.random_range(0..scenes.len())]
        };
        let mut layout = Self {
            size: options.size,
            hue_noise: options.hue_noise,
            scene,
            objects: Vec::new(),
            owners: Vec::new(),
        };
        loop {
            layout.objects = classes
                .iter()
                .map(|&class| Object::random(class, options.size, rng))
                .collect();
            if layout.place() {
                return layout;
            }
        }
    }

    /// Fills in who is seen where; false where an object is hidden too much.
    fn place(&mut self) -> bool {
        let scale = self.size as f32 / 96.0;
        self.owners = vec![0; (self.size * self.size) as usize];
        for (number, object) in self.objects.iter().enumerate() {
            let [columns, rows] = object.bounds(0.0, self.size);
            for y in rows {
                for x in columns.clone() {
                    if object.level(x as f32, y as f32) < 1.0 {
                        self.owners[(y * self.size + x) as usize] = number as u8 + 1;
                    }
                }
            }
        }
        self.objects.iter().enumerate().all(|(number, object)| {
            let (mut visible, mut marked) = (0.0, 0.0);
            let [columns, rows] = object.bounds(0.0, self.size);
            for y in rows {
                for x in columns.clone() {
                    if self.owners[(y * self.size + x) as usize] == number as u8 + 1 {
                        visible += 1.0;
                        let marker = object.marker.pattern(object.class, x as f32, y as f32);
                        marked += f32::from(u8::from(marker.is_some()));
                    }
                }
            }
            let marker_area = std::f32::consts::PI * object.marker.radius.powi(2);
            visible >= 60.0 * scale * scale && marked >= marker_area / 3.0
        })
    }

    /// The mask: 0 = background, c + 1 = class c.
    pub fn mask(&self) -> GrayImage {
        GrayImage::from_fn(self.size, self.size, |x, y| {
            let owner = usize::from(self.owners[(y * self.size + x) as usize]);
            let object = owner.checked_sub(1).map(|number| &self.objects[number]);
            let value = match object {
                Some(object) => MaskValue::of_class(object.class).unwrap_or(MaskValue::IGNORED),
                None => MaskValue::BACKGROUND,
            };
            Luma([value.get()])
        })
    }

    /// The classes of the objects, sorted; all are visible.
    pub fn tags(&self) -> Vec<usize> {
        let mut tags: Vec<_> = self.objects.iter().map(|o| o.class).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }
}
