//! Whether every barrier stands where all invocations of a workgroup are known to go the same way, as WGSL demands
//! (section "Uniformity") and FXC, by which wgpu compiles for DirectX 12 where nothing newer is there, too.
//!
//! naga looks for that itself, but not at what leaves a loop, and takes every local variable for one that varies. This
//! rule follows the standard's on the parsed module, and is stricter in two ways: a variable, and the arguments and the
//! result of a function, vary everywhere where they vary anywhere.

use std::ops::BitOr;

use naga::{AddressSpace, Block, BuiltIn, Expression, Function, Handle, Module, Span, Statement, StorageAccess};

/// Names the first barrier of `module`, parsed from `text`, that some invocations may pass without the others.
pub fn check(module: &Module, text: &str) -> Result<(), String> {
    let mut facts = Facts::new(module);
    loop {
        facts.has_changed = false;
        let mut barrier = None;
        for (id, function) in functions(module).enumerate() {
            let mut walk = Walk {
                module,
                function,
                id,
                facts: &mut facts,
                barrier: None,
            };
            let varying = walk.facts.flows[id];
            walk.block(&function.body, varying);
            barrier = barrier.or(walk.barrier);
        }
        if facts.has_changed {
            continue;
        }
        return match barrier {
            None => Ok(()),
            Some(span) => Err(format!(
                "line {}: a barrier where the invocations of a workgroup may go different ways: take what decides \
                 through workgroupUniformLoad",
                span.location(text).line_number
            )),
        };
    }
}

/// Functions by their index, then the entry points.
fn functions(module: &Module) -> impl Iterator<Item = &Function> {
    let called = module.functions.iter().map(|(_, function)| function);
    called.chain(module.entry_points.iter().map(|entry| &entry.function))
}

/// What is known to vary among the invocations of a workgroup, by function. Facts are only ever added.
struct Facts {
    /// Whether some invocations may call it without the others.
    flows: Vec<bool>,
    arguments: Vec<Vec<bool>>,
    results: Vec<bool>,
    locals: Vec<Vec<bool>>,
    has_changed: bool,
}

impl Facts {
    fn new(module: &Module) -> Facts {
        let called = module.functions.len();
        let arguments = functions(module).enumerate().map(|(id, function)| {
            let arguments = function.arguments.iter();
            arguments
                .map(|argument| id >= called && !is_of_workgroup(argument.binding.as_ref()))
                .collect()
        });
        Facts {
            flows: functions(module).map(|_| false).collect(),
            arguments: arguments.collect(),
            results: functions(module).map(|_| false).collect(),
            locals: functions(module)
                .map(|function| vec![false; function.local_variables.len()])
                .collect(),
            has_changed: false,
        }
    }
}

/// Whether an entry point's argument is the same for a whole workgroup.
fn is_of_workgroup(binding: Option<&naga::Binding>) -> bool {
    matches!(
        binding,
        Some(naga::Binding::BuiltIn(
            BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups | BuiltIn::WorkGroupSize
        ))
    )
}

/// By what some invocations may leave a block while others stay.
#[derive(Clone, Copy, Default)]
struct Leaving {
    breaks: bool,
    continues: bool,
    returns: bool,
}

impl Leaving {
    fn any(self) -> bool {
        self.breaks || self.continues || self.returns
    }
}

impl BitOr for Leaving {
    type Output = Leaving;

    fn bitor(self, other: Leaving) -> Leaving {
        Leaving {
            breaks: self.breaks || other.breaks,
            continues: self.continues || other.continues,
            returns: self.returns || other.returns,
        }
    }
}

/// One pass through a function.
struct Walk<'a> {
    module: &'a Module,
    function: &'a Function,
    id: usize,
    facts: &'a mut Facts,
    /// The first that some invocations may miss.
    barrier: Option<Span>,
}

impl Walk<'_> {
    /// `varying`: whether some invocations may be here without the others.
    fn block(&mut self, block: &Block, mut varying: bool) -> Leaving {
        let mut leaving = Leaving::default();
        for (statement, span) in block.span_iter() {
            let left = self.statement(statement, *span, varying);
            // Those that have left are missing from here on.
            varying |= left.any();
            leaving = leaving | left;
        }
        leaving
    }

    fn statement(&mut self, statement: &Statement, span: Span, varying: bool) -> Leaving {
        let mut leaving = Leaving::default();
        match statement {
            Statement::Break => leaving.breaks = varying,
            Statement::Continue => leaving.continues = varying,
            Statement::Kill => leaving.returns = varying,
            Statement::Return { value } => {
                leaving.returns = varying;
                if varying || value.is_some_and(|value| self.varies(value)) {
                    mark(&mut self.facts.results[self.id], &mut self.facts.has_changed);
                }
            }
            Statement::Block(block) => leaving = self.block(block, varying),
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let inside = varying || self.varies(*condition);
                leaving = self.block(accept, inside) | self.block(reject, inside);
            }
            Statement::Switch { selector, cases } => {
                let inside = varying || self.varies(*selector);
                for case in cases {
                    leaving = leaving | self.block(&case.body, inside);
                }
                leaving.breaks = false;
            }
            Statement::Loop {
                body,
                continuing,
                break_if,
            } => leaving.returns = self.repeated(body, continuing, *break_if, varying),
            Statement::Store { pointer, value } => {
                if varying || self.varies(*value) || self.varies(*pointer) {
                    self.mark_local(*pointer);
                }
            }
            Statement::Call {
                function, arguments, ..
            } => {
                let callee = function.index();
                if varying {
                    mark(&mut self.facts.flows[callee], &mut self.facts.has_changed);
                }
                for (i, argument) in arguments.iter().enumerate() {
                    if self.varies(*argument) {
                        mark(&mut self.facts.arguments[callee][i], &mut self.facts.has_changed);
                    }
                    // What a function does with a pointer is not followed.
                    self.mark_local(*argument);
                }
            }
            Statement::ControlBarrier(_) if varying => self.barrier = self.barrier.or(Some(span)),
            Statement::WorkGroupUniformLoad { pointer, .. } if varying || self.varies(*pointer) => {
                self.barrier = self.barrier.or(Some(span));
            }
            _ => (),
        }
        leaving
    }

    /// A loop; whether some invocations may return out of it while others do not.
    fn repeated(
        &mut self,
        body: &Block,
        continuing: &Block,
        break_if: Option<Handle<Expression>>,
        varying: bool,
    ) -> bool {
        let mut inside = varying;
        loop {
            let mut left = self.block(body, inside);
            left = left | self.block(continuing, inside || left.any());
            left.breaks |= break_if.is_some_and(|condition| inside || self.varies(condition));
            // Who leaves in one round is missing in the next one from its beginning.
            if inside || !left.any() {
                return left.returns;
            }
            inside = true;
        }
    }

    /// Whether a value, or the place that a pointer points to, may differ among the invocations of a workgroup.
    fn varies(&self, expression: Handle<Expression>) -> bool {
        let any = |operands: &[Handle<Expression>]| operands.iter().any(|operand| self.varies(*operand));
        match &self.function.expressions[expression] {
            Expression::Literal(_)
            | Expression::Constant(_)
            | Expression::Override(_)
            | Expression::ZeroValue(_)
            | Expression::GlobalVariable(_)
            | Expression::LocalVariable(_)
            | Expression::ArrayLength(_)
            | Expression::WorkGroupUniformLoadResult { .. } => false,
            Expression::FunctionArgument(i) => self.facts.arguments[self.id][*i as usize],
            Expression::CallResult(function) => self.facts.results[function.index()],
            Expression::Load { pointer } => self.varies(*pointer) || self.content_varies(*pointer),
            Expression::Compose { components, .. } => any(components),
            Expression::Access { base, index } => any(&[*base, *index]),
            Expression::AccessIndex { base: operand, .. }
            | Expression::Splat { value: operand, .. }
            | Expression::Swizzle { vector: operand, .. }
            | Expression::Unary { expr: operand, .. }
            | Expression::Relational { argument: operand, .. }
            | Expression::As { expr: operand, .. } => self.varies(*operand),
            Expression::Binary { left, right, .. } => any(&[*left, *right]),
            Expression::Select {
                condition,
                accept,
                reject,
            } => any(&[*condition, *accept, *reject]),
            Expression::Math {
                arg, arg1, arg2, arg3, ..
            } => any(&[*arg]) || [arg1, arg2, arg3].into_iter().flatten().any(|arg| self.varies(*arg)),
            _ => true,
        }
    }

    /// Whether what lies behind a pointer may differ where the pointer does not.
    fn content_varies(&self, pointer: Handle<Expression>) -> bool {
        match &self.function.expressions[self.root(pointer)] {
            Expression::LocalVariable(local) => self.facts.locals[self.id][local.index()],
            Expression::GlobalVariable(global) => match self.module.global_variables[*global].space {
                AddressSpace::Uniform => false,
                // What an invocation may write, another may have written before this one reads it.
                AddressSpace::Storage { access } => access.contains(StorageAccess::STORE),
                _ => true,
            },
            _ => true,
        }
    }

    /// The variable or argument that a pointer points into.
    fn root(&self, mut pointer: Handle<Expression>) -> Handle<Expression> {
        while let Expression::Access { base, .. } | Expression::AccessIndex { base, .. } =
            &self.function.expressions[pointer]
        {
            pointer = *base;
        }
        pointer
    }

    /// Where it points into a local variable, that one varies.
    fn mark_local(&mut self, pointer: Handle<Expression>) {
        if let Expression::LocalVariable(local) = &self.function.expressions[self.root(pointer)] {
            mark(
                &mut self.facts.locals[self.id][local.index()],
                &mut self.facts.has_changed,
            );
        }
    }
}

fn mark(fact: &mut bool, has_changed: &mut bool) {
    *has_changed |= !*fact;
    *fact = true;
}

#[cfg(test)]
mod tests {
    /// The check of a kernel with such functions and such a body.
    fn checked(functions: &str, body: &str) -> Result<(), String> {
        let text = format!(
            "@group(0) @binding(0) var<storage, read_write> info: array<u32>;
            var<workgroup> tile: array<u32, 64>;
            var<private> own: u32;
            {functions}
            @compute @workgroup_size(64)
            fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{ {body} }}"
        );
        super::check(&naga::front::wgsl::parse_str(&text).unwrap(), &text)
    }

    #[track_caller]
    fn refused(functions: &str, body: &str) {
        let why = checked(functions, body).unwrap_err();
        assert!(why.contains("a barrier where"), "{why}");
    }

    const UNIFORMLY: &str = "fn uniformly(lane: u32, value: u32) -> u32 {
        if lane == 0u { tile[0] = value; }
        return workgroupUniformLoad(&tile[0]);
    }";
    const PRODUCT: &str = "fn product(lane: u32, depth: u32) {
        for (var start = 0u; start < depth; start += 8u) {
            tile[lane] = start;
            workgroupBarrier();
            tile[lane] += tile[(lane + 1u) % 64u];
            workgroupBarrier();
        }
    }";

    #[test]
    fn a_loop_with_barriers_may_not_end_by_what_a_buffer_holds() {
        let loop_to = |bound: &str| format!("for (var i = 0u; i < {bound}; i++) {{ workgroupBarrier(); }}");
        refused("", &loop_to("info[0]"));
        refused("", &loop_to("tile[0]"));
        refused("", &loop_to("own"));
        refused("", &loop_to("lane"));
        checked("", &loop_to("8u")).unwrap();
        checked("", &loop_to("group.x")).unwrap();
        checked("", &loop_to("workgroupUniformLoad(&tile[3])")).unwrap();
        // Through functions, as the kernels have it.
        refused(PRODUCT, "own = info[0]; product(lane, own);");
        let functions = format!("{UNIFORMLY}\n{PRODUCT}");
        checked(&functions, "product(lane, uniformly(lane, info[0]));").unwrap();
    }

    #[test]
    fn nobody_may_miss_a_barrier() {
        refused("", "if lane < 3u { workgroupBarrier(); }");
        refused("", "if lane >= info[0] { return; } workgroupBarrier();");
        refused("", "if info[0] > 1u { tile[0] = workgroupUniformLoad(&tile[1]); }");
        refused(UNIFORMLY, "if lane < 3u { own = uniformly(lane, 1u); }");
        refused("", "loop { if lane > 3u { break; } workgroupBarrier(); }");
        refused(
            "",
            "for (var i = 0u; i < 8u; i++) { if lane > i { continue; } workgroupBarrier(); }",
        );
        // By a variable that varies since some invocations have set it.
        refused(
            "",
            "var on = false; if lane > 3u { on = true; } if on { workgroupBarrier(); }",
        );
        checked("", "if lane < 3u { tile[lane] = 1u; } workgroupBarrier();").unwrap();
        checked(
            "",
            "for (var i = 0u; i < info[0]; i++) { tile[lane] += i; } workgroupBarrier();",
        )
        .unwrap();
        checked(
            "",
            "for (var i = 32u; i > 0u; i /= 2u) { if lane < i { tile[lane] = i; } workgroupBarrier(); }",
        )
        .unwrap();
        checked("", "if group.x > 3u { return; } workgroupBarrier();").unwrap();
    }
}
