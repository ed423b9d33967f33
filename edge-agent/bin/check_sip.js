#!/usr/bin/env node
import { launch } from './launch.js';

// What stands in the arguments, a password perhaps, is not for everybody who lists processes.
process.title = 'check_sip';
// 3: Nagios' UNKNOWN.
await launch('check_sip', 'cli/main.ts', 3);
