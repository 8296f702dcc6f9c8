//! The Open Virtualization Format (DMTF DSP0243) of a VirtualBox machine: one disk on a SATA controller, one network card.

/// The disk's name in the box.
pub const DISK: &str = "box-disk001.vmdk";

/// The envelope for a disk whose file has this size. What a node really has (CPUs, memory) its Vagrantfile says.
pub fn text(size: u64) -> String {
    format!(
        r##"<?xml version="1.0"?>
<Envelope ovf:version="1.0" xml:lang="en-US" xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <References>
    <File ovf:href="{DISK}" ovf:id="file1" ovf:size="{size}"/>
  </References>
  <DiskSection>
    <Info>The machine's disk</Info>
    <Disk ovf:capacity="{capacity}" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="NAT">
      <Description>NAT</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="lap-node">
    <Info>A node of lap</Info>
    <OperatingSystemSection ovf:id="96">
      <Info>Debian</Info>
      <Description>Debian_64</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Its hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>lap-node</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:Caption>2 virtual CPUs</rasd:Caption>
        <rasd:Description>Number of virtual CPUs</rasd:Description>
        <rasd:ElementName>2 virtual CPUs</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>2</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
        <rasd:Caption>2048 MB of memory</rasd:Caption>
        <rasd:Description>Memory Size</rasd:Description>
        <rasd:ElementName>2048 MB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>2048</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:Address>0</rasd:Address>
        <rasd:Caption>sataController0</rasd:Caption>
        <rasd:Description>SATA Controller</rasd:Description>
        <rasd:ElementName>sataController0</rasd:ElementName>
        <rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>AHCI</rasd:ResourceSubType>
        <rasd:ResourceType>20</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:Caption>disk1</rasd:Caption>
        <rasd:Description>Disk Image</rasd:Description>
        <rasd:ElementName>disk1</rasd:ElementName>
        <rasd:HostResource>/disk/vmdisk1</rasd:HostResource>
        <rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
        <rasd:Caption>Ethernet adapter on 'NAT'</rasd:Caption>
        <rasd:Connection>NAT</rasd:Connection>
        <rasd:ElementName>Ethernet adapter on 'NAT'</rasd:ElementName>
        <rasd:InstanceID>5</rasd:InstanceID>
        <rasd:ResourceSubType>E1000</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType>
      </Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"##,
        capacity = 20u64 << 30,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The children of an `Item` in the order in which the schema (CIM_ResourceAllocationSettingData) has them.
    const ORDER: [&str; 14] = [
        "Address",
        "AddressOnParent",
        "AllocationUnits",
        "AutomaticAllocation",
        "Caption",
        "Connection",
        "Description",
        "ElementName",
        "HostResource",
        "InstanceID",
        "Parent",
        "ResourceSubType",
        "ResourceType",
        "VirtualQuantity",
    ];

    fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
        text.split(from).skip(1).map(|rest| rest.split_once(to).unwrap().0).collect()
    }

    /// The schema itself is not here: what of it a mistake would break first.
    #[test]
    fn what_refers_to_something_finds_it() {
        let text = super::text(1);
        let one = |from: &str| between(&text, from, "\"")[0].to_owned();
        assert_eq!(one("ovf:fileRef=\""), one("ovf:id=\""));
        assert!(text.contains(&format!(">/disk/{}</rasd:HostResource>", one("ovf:diskId=\""))));
        let networks: BTreeSet<&str> = between(&text, "<rasd:Connection>", "<").into_iter().collect();
        assert_eq!(networks, BTreeSet::from([one("<Network ovf:name=\"").as_str()]));
        let instances = between(&text, "<rasd:InstanceID>", "<");
        assert_eq!(instances.iter().collect::<BTreeSet<_>>().len(), instances.len());
        assert!(between(&text, "<rasd:Parent>", "<").iter().all(|parent| instances.contains(parent)));
        // Every prefix is declared, every element closed.
        for prefix in ["ovf", "rasd", "vssd"] {
            assert!(text.contains(&format!("xmlns:{prefix}=")), "{prefix}");
        }
        let mut open = Vec::new();
        for tag in between(&text, "<", ">").into_iter().filter(|tag| !tag.starts_with('?') && !tag.ends_with('/')) {
            let name = tag.split_whitespace().next().unwrap();
            match name.strip_prefix('/') {
                None => open.push(name),
                Some(name) => assert_eq!(open.pop(), Some(name)),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn the_order_is_the_schemas() {
        for item in between(&super::text(1), "<Item>", "</Item>") {
            let places: Vec<usize> = between(item, "<rasd:", ">")
                .iter()
                .map(|name| ORDER.iter().position(|known| known == name).unwrap_or_else(|| panic!("{name}")))
                .collect();
            assert!(places.is_sorted(), "{item}");
            for required in ["ElementName", "InstanceID", "ResourceType"] {
                assert!(item.contains(&format!("<rasd:{required}>")), "{item}");
            }
        }
    }
}
