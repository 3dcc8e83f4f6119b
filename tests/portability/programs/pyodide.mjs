// Runs a Python program in Pyodide with files beside it: node pyodide.mjs PYODIDE.mjs FOLDER PROGRAM

import { readdirSync, readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [pyodide, folder, program] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(pyodide).href);
const python = await loadPyodide();
for (const name of readdirSync(folder)) {
  if (name.endsWith(".py")) python.FS.writeFile("/home/pyodide/" + name, readFileSync(folder + "/" + name));
}
python.runPython(program);
