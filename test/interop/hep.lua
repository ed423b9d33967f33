-- HEPv3 for tshark, which has no dissector of its own for it: the chunks as fields, the SIP inside handed to tshark's SIP dissector.
-- The ports come from HEP_PORT in the environment. Layout: sipcapture/HEP, revision 37.
local hep = Proto("hep3", "Homer Encapsulation Protocol 3")
local field = {
  length = ProtoField.uint16("hep3.length"),
  [0x1] = ProtoField.uint8("hep3.family"),
  [0x2] = ProtoField.uint8("hep3.protocol"),
  [0x3] = ProtoField.ipv4("hep3.src"),
  [0x4] = ProtoField.ipv4("hep3.dst"),
  [0x5] = ProtoField.ipv6("hep3.src6"),
  [0x6] = ProtoField.ipv6("hep3.dst6"),
  [0x7] = ProtoField.uint16("hep3.srcport"),
  [0x8] = ProtoField.uint16("hep3.dstport"),
  [0x9] = ProtoField.uint32("hep3.seconds"),
  [0xa] = ProtoField.uint32("hep3.micros"),
  [0xb] = ProtoField.uint8("hep3.type"),
  [0xc] = ProtoField.uint32("hep3.agent"),
  [0xe] = ProtoField.string("hep3.key"),
  [0x11] = ProtoField.string("hep3.correlation"),
  [0x13] = ProtoField.string("hep3.name"),
}
hep.fields = {}
for _, f in pairs(field) do table.insert(hep.fields, f) end
local sip = Dissector.get("sip")

local function packet(tvb, pinfo, tree)
  if tvb(0, 4):string() ~= "HEP3" then return 0 end
  local total = tvb(4, 2):uint()
  local sub = tree:add(hep, tvb(0, total))
  sub:add(field.length, tvb(4, 2))
  local at = 6
  while at < total do
    local kind, length = tvb(at + 2, 2):uint(), tvb(at + 4, 2):uint()
    local value = tvb(at + 6, length - 6)
    if kind == 0xf then sip:call(value:tvb(), pinfo, tree)
    elseif field[kind] then sub:add(field[kind], value) end
    at = at + length
  end
  return total
end

function hep.dissector(tvb, pinfo, tree)
  if pinfo.port_type == 2 then
    dissect_tcp_pdus(tvb, tree, 6, function(t, _, offset) return t(offset + 4, 2):uint() end, packet)
    return tvb:len()
  end
  return packet(tvb, pinfo, tree)
end

local port = tonumber(os.getenv("HEP_PORT"))
DissectorTable.get("udp.port"):add(port, hep)
DissectorTable.get("tcp.port"):add(port, hep)
