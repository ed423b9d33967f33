/** One farm on all sites, as operators of many sites have it. */
export const farmOn = (sites: readonly string[], weight: number) => ({
  kind: 'Farm',
  name: 'pbx',
  sites,
  listeners: [{ transport: 'udp', port: 5060 }],
  backends: [1, 2, 3, 4].map((n) => ({ name: `pbx${n}`, address: `10.0.0.${n}`, weight: n === 1 ? weight : 10 })),
  checks: [{ name: 'ping', type: 'options', interval: '5s', timeout: '2s', rise: 2, fall: 3 }],
});
