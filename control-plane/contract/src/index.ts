export * from './address.ts';
export * from './agent.ts';
export * from './farm.ts';
export * from './faults.ts';
export * from './resource.ts';
export * from './secret.ts';
export * from './site.ts';
export * from './units.ts';
