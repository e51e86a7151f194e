//! `gaia inspect`: what is in a template, without building anything.

use template::{Inspection, inspect};

use super::plan;
use crate::args::TemplateArgs;
use crate::exit_code::Exit;
use crate::render::Ui;
use crate::session::Session;

/// Said at the end, as in Packer.
const NOTE: &str = "\nNote: If your build names contain user variables or template
functions such as 'timestamp', these are processed at build time,
and therefore only show in their raw form here.";

pub(crate) fn run(mut session: Session, args: &TemplateArgs) -> Exit {
    let Some(template) = plan::load(&mut session, &args.template) else { return Exit::Failure };
    show(&mut session.ui, &inspect(&template));
    session.exit(Exit::Success)
}

fn show(ui: &mut Ui, template: &Inspection) {
    if let Some(description) = &template.description {
        ui.say("Description:\n");
        ui.say(&format!("{description}\n"));
    }
    let (required, optional): (Vec<_>, Vec<_>) = template.variables.iter().partition(|v| v.required);
    if !required.is_empty() {
        section(ui, "Required variables:", |ui| {
            for variable in required {
                ui.fact(None, "", "template-variable", &[&variable.name, "", "1"]);
                ui.say(&format!("  {}", variable.name));
            }
        });
    }
    section(ui, "Optional variables and their defaults:", |ui| {
        let width = optional.iter().map(|v| v.name.chars().count()).max().unwrap_or(0);
        for variable in &optional {
            let default = variable.default.as_deref().unwrap_or_default();
            ui.fact(None, "", "template-variable", &[&variable.name, default, "0"]);
            ui.say(&format!("  {:width$} = {default}", variable.name));
        }
        if optional.is_empty() {
            ui.say("  <No variables>");
        }
    });
    section(ui, "Builders:", |ui| {
        let width = template.builders.iter().map(|b| b.name.chars().count()).max().unwrap_or(0);
        for builder in &template.builders {
            ui.fact(None, "", "template-builder", &[&builder.name, &builder.kind]);
            let kind = if builder.name == builder.kind { String::new() } else { format!("({})", builder.kind) };
            ui.say(format!("  {:width$} {kind}", builder.name).trim_end());
        }
    });
    ui.say("Provisioners:\n");
    for provisioner in &template.provisioners {
        ui.fact(None, "", "template-provisioner", &[provisioner]);
        ui.say(&format!("  {provisioner}"));
    }
    if template.provisioners.is_empty() {
        ui.say("  <No provisioners>");
    }
    if let Some(provisioner) = &template.error_cleanup_provisioner {
        ui.say("\nError-cleanup-provisioner:\n");
        ui.say(&format!("  {provisioner}"));
    }
    if !template.post_processors.is_empty() {
        ui.say("\nPost-processors:\n");
        template.post_processors.iter().for_each(|chain| ui.say(&format!("  {}", chain.join(", "))));
    }
    ui.say(NOTE);
}

/// A heading, an empty line, what it is about, and an empty line.
fn section(ui: &mut Ui, heading: &str, content: impl FnOnce(&mut Ui)) {
    ui.say(&format!("{heading}\n"));
    content(ui);
    ui.say("");
}
