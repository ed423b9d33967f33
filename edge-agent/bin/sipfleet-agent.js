#!/usr/bin/env node
import { launch } from './launch.js';

await launch('sipfleet-agent', 'main.ts', 1, true);
