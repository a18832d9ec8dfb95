//! Planted wrong kernels: each has to be found and named.

use burn::tensor::{Device, Tensor, TensorData};

use super::input::Layout;
use super::lattice::{self, Pixels};
use super::operators::{self, Size};
use super::{Against, Check, Outcome, Report, parameters};
use crate::device::{Choice, choose};
use crate::kernels::{Compatibility, mean_field, pair_affinity, random_walk};

/// What is wrong with an operator.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// 1 % off at one element.
    Element,
    /// Not a number at one element.
    NotANumber,
    /// The last workgroup's elements are never written.
    LastWorkgroup,
}

const FAULTS: [Fault; 3] = [Fault::Element, Fault::NotANumber, Fault::LastWorkgroup];

impl Fault {
    /// The operator's result with this fault in it, and in its gradient.
    fn plant<const D: usize>(self, out: Tensor<D>) -> Tensor<D> {
        let n = out.dims().iter().product();
        let mut factors = vec![1.0f32; n];
        match self {
            Fault::None => (),
            Fault::Element => factors[n / 3] = 1.01,
            Fault::NotANumber => factors[n / 3] = f32::NAN,
            Fault::LastWorkgroup => factors[(n - 1) / 256 * 256..].fill(0.0),
        }
        let factors = Tensor::from_data(TensorData::new(factors, out.dims()), &out.device());
        out * factors
    }

    /// As [`Self::plant`], in the gradient alone.
    fn plant_backward<const D: usize>(self, out: Tensor<D>) -> Tensor<D> {
        let wrong = self.plant(out.clone());
        match self {
            // The value of NaN less itself would be NaN as well.
            Fault::NotANumber => out,
            _ => wrong.clone() + (out - wrong).detach(),
        }
    }
}

fn size() -> Size {
    Size {
        features: [2, 4, 13, 17],
        classes: 3,
        radius: 4,
        steps: 3,
        layout: Layout::Contiguous,
    }
}

fn pixels() -> lattice::Size {
    lattice::size(Pixels::Varied(501), 5, 3)
}

/// Every operator with `fault` in its result.
fn wrong(fault: Fault) -> Vec<Check> {
    let potts = Compatibility::Potts(1.0);
    vec![
        operators::affinity(size(), move |features, radius, distance| {
            fault.plant(pair_affinity(features, radius, distance))
        }),
        operators::walk(size(), move |features, scores, walk| {
            fault.plant(random_walk(features, scores, walk))
        }),
        lattice::filter(pixels(), move |lattice, values| fault.plant(lattice.filter(values))),
        lattice::posterior(pixels(), potts, 3, move |unary, kernels, iterations| {
            fault.plant(mean_field(unary, kernels, iterations))
        }),
    ]
}

/// The operators that have one, with `fault` in their gradient.
fn wrong_backward(fault: Fault) -> Vec<Check> {
    vec![
        operators::affinity(size(), move |features, radius, distance| {
            fault.plant_backward(pair_affinity(features, radius, distance))
        }),
        operators::walk(size(), move |features, scores, walk| {
            fault.plant_backward(random_walk(features, scores, walk))
        }),
        lattice::filter(pixels(), move |lattice, values| {
            fault.plant_backward(lattice.filter(values))
        }),
    ]
}

fn report(checks: &[Check]) -> Report {
    let run = |check: &Check| check.on(&Device::flex(), Against::Twin);
    Report::new(&choose(Choice::Cpu).unwrap(), checks.iter().map(run).collect())
}

#[test]
fn right_operators_are_fit_for_use() {
    let mut checks = wrong(Fault::None);
    checks.extend(wrong_backward(Fault::None));
    let report = report(&checks);
    assert!(report.fit, "{}", report.table());
    assert!(report.verdict.contains("fit for use"), "{}", report.verdict);
}

/// The one wrong check among right ones is the one that the verdict names.
#[track_caller]
fn is_named(wrong: Vec<Check>, part: &str, fault: Fault) {
    let count = wrong.len();
    for (i, wrong) in wrong.into_iter().enumerate() {
        let name = wrong.name.clone();
        let mut checks = vec![wrong];
        checks.extend(self::wrong(Fault::None).into_iter().take(count).skip(i + 1));
        let report = report(&checks);
        let failed: Vec<&Outcome> = report.checks.iter().filter(|o| !o.passes()).collect();
        assert!(!report.fit && failed.len() == 1, "{fault:?}: {}", report.table());
        assert_eq!(report.failed(), [name.as_str()]);
        let mut parts = failed[0].parts.iter().filter(|part| !part.passes());
        assert!(parts.any(|p| p.name == part), "{}", report.table());
        assert!(
            report.verdict.starts_with("Avoid ") && report.verdict.contains(&name),
            "{}",
            report.verdict
        );
        // Also what a machine reads.
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["fit"], false);
        assert_eq!(json["checks"][0]["name"], name);
    }
}

#[test]
fn planted_faults_of_results_are_named() {
    for fault in FAULTS {
        is_named(wrong(fault), "result", fault);
    }
}

#[test]
fn planted_faults_of_gradients_are_named() {
    for fault in [Fault::Element, Fault::LastWorkgroup] {
        is_named(wrong_backward(fault), "gradient", fault);
    }
}

#[test]
fn gradients_that_are_lost_where_only_parameters_have_one_are_named() {
    // 0 with an infinite slope: nothing in the result tells.
    let poisoned = |kernel: Tensor<4>| (kernel * 0.0).abs().sqrt().sum().reshape([1, 1, 1, 1]);
    let check = |lost: bool| {
        parameters::check(4, move |x, kernel, bias| {
            let is_first = !x.is_tracked();
            let out = parameters::layer(x, kernel.clone(), bias);
            if is_first && lost { out + poisoned(kernel) } else { out }
        })
    };
    let report = report(&[check(false), check(true)]);
    assert!(report.checks[0].passes(), "{}", report.table());
    assert_eq!(report.failed(), ["parameters alone"]);
    let wrong = report.checks[1].worst().unwrap();
    assert!(
        wrong.name == "gradient" && wrong.error.is_infinite(),
        "{}",
        report.table()
    );
}

#[test]
fn a_panic_and_a_wrong_number_of_values_fail() {
    let panics = operators::walk(size(), |_, _, _| panic!("the device is lost"));
    let short = operators::affinity(size(), |features, radius, distance| {
        pair_affinity(features, radius, distance).narrow(3, 0, 16)
    });
    let report = report(&[panics, short]);
    assert_eq!(report.failed(), ["random_walk", "pair_affinity"]);
    let failure = report.checks[0].failure.as_deref();
    assert_eq!(failure, Some("the device is lost"));
    assert!(report.table().contains("FAIL: the device is lost"));
}

#[test]
fn brute_force_agrees_with_the_cpu() {
    let checks = super::checks(super::Cost::High);
    let outcomes: Vec<Outcome> = checks
        .iter()
        .map(|check| check.on(&Device::flex(), Against::BruteForce))
        .collect();
    let report = Report::new(&choose(Choice::Cpu).unwrap(), outcomes);
    assert!(report.fit, "{}", report.table());
    for name in ["pair_affinity", "random_walk", "mean_field"] {
        let mut exact = report.checks.iter().filter(|o| o.against.is_some());
        assert!(exact.any(|o| o.name == name), "{name}");
    }
}
