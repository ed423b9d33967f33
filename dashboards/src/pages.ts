import { agent } from './agent.ts';
import { backend } from './backend.ts';
import { calls } from './calls.ts';
import { controlPlane } from './control-plane.ts';
import { farm } from './farm.ts';
import { fleet } from './fleet.ts';
import type { Page } from './page.ts';
import { security } from './security.ts';
import { sitePage } from './site.ts';

/** From the whole to the part: the order of the menu. */
export const PAGES: readonly Page[] = [fleet, sitePage, farm, backend, calls, agent, security, controlPlane];
