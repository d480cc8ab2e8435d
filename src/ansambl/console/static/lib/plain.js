// A page without components of its own.
import { start } from "./shell.js";

start();
