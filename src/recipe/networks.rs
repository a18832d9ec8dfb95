//! Which backbone each network of a recipe has, and which head the second network.

use anyhow::{Result, ensure};

use super::{BackboneSettings, Crf, Part, Recipe, Training};
use crate::models::heads::deeplab::Version;
use crate::models::{Head, Network};

impl Recipe {
    /// The backbone of a part's network: its section's, or the recipe's.
    pub fn backbone(&self, part: Part) -> &BackboneSettings {
        self.own(part).unwrap_or(&self.backbone)
    }

    /// The network with `head` on the backbone of a part.
    ///
    /// # Errors
    /// Where there is no such backbone, or not of this width and output stride.
    pub fn network(&self, part: Part, head: Head) -> Result<Network> {
        Ok(Network {
            backbone: self.backbone(part).build()?,
            head,
        })
    }

    /// How a part's network is trained.
    pub fn training(&self, part: Part) -> &Training {
        match part {
            Part::Classify => &self.classify,
            Part::Affinity => &self.affinity.training,
            Part::Joint => &self.joint.training,
            Part::Cross => &self.cross.training,
            Part::Coattend => &self.coattend.training,
            Part::Segment => &self.segment,
        }
    }

    /// The CRF on what a part's network predicts of the training images, where another network or training learns from
    /// that.
    pub fn label_crf(&self, part: Part) -> &Crf {
        match part {
            Part::Joint => &self.joint.crf,
            Part::Cross => &self.cross.crf,
            Part::Classify | Part::Affinity | Part::Coattend | Part::Segment => &self.label.crf,
        }
    }

    /// The backbone of a part's own section.
    fn own(&self, part: Part) -> Option<&BackboneSettings> {
        match part {
            Part::Classify => self.cam.backbone.as_ref(),
            Part::Affinity => self.affinity.backbone.as_ref(),
            Part::Joint => self.joint.backbone.as_ref(),
            Part::Cross => self.cross.backbone.as_ref(),
            Part::Coattend => self.coattend.backbone.as_ref(),
            Part::Segment => self.segment.backbone.as_ref(),
        }
    }

    /// As [`Self::own`], to be changed.
    pub(super) fn own_mut(&mut self, part: Part) -> &mut Option<BackboneSettings> {
        match part {
            Part::Classify => &mut self.cam.backbone,
            Part::Affinity => &mut self.affinity.backbone,
            Part::Joint => &mut self.joint.backbone,
            Part::Cross => &mut self.cross.backbone,
            Part::Coattend => &mut self.coattend.backbone,
            Part::Segment => &mut self.segment.backbone,
        }
    }

    /// Rejects backbones that do not exist.
    pub(super) fn check_backbones(&self) -> Result<()> {
        self.backbone.check("backbone")?;
        for part in Part::ALL {
            if let Some(backbone) = self.own(part) {
                backbone.check(&format!("{}.backbone", part.section()))?;
            }
        }
        Ok(())
    }

    /// The head of the segmentation network for `classes`, without background.
    pub fn segment_head(&self, classes: usize) -> Head {
        match self.segment.head.version() {
            Some(version) => Head::DeepLab { classes, version },
            None => Head::Segmentation { classes },
        }
    }

    /// Rejects heads that the backbone cannot have.
    pub(super) fn check_segment_head(&self) -> Result<()> {
        let Some(version) = self.segment.head.version() else {
            return Ok(());
        };
        let backbone = self.backbone(Part::Segment).build()?;
        let name = backbone.kind();
        ensure!(
            version.stands_on(backbone),
            "segment.head: {} does not go onto {name}: {}",
            version.name(),
            match name {
                "vgg16" => "vgg16 takes \"deeplab_v2\", and has DeepLab-LargeFOV's as \"usual\"",
                _ => "set segment.backbone.name to resnet50, resnet101, resnet101_caffe or, for \"deeplab_v2\", vgg16",
            }
        );
        ensure!(
            version != Version::V3 || self.segment.batch >= 2,
            "segment.batch is {}: DeepLab-v3's head learns from statistics of the batch: use at least 2",
            self.segment.batch
        );
        Ok(())
    }
}
