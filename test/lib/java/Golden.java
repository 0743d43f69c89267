import java.nio.ByteBuffer;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.types.ArrayOf;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

/**
 * Prints sample messages as Kafka's own client library encodes them, from its schemas alone:
 * "API request|response VERSION HEX" per line. Arguments: API:low-high ...
 * Per version one sample is full, one has nulls and empty arrays wherever they may stand.
 */
public class Golden {
    static int counter = 0;

    static Object value(Type type, boolean full) throws Exception {
        counter++;
        if (type instanceof Schema)
            return struct((Schema) type, full);
        if (type instanceof ArrayOf || type instanceof CompactArrayOf) {
            if (!full)
                return type.isNullable() ? null : new Object[0];
            Type inner = type.arrayElementType().get();
            return new Object[] {value(inner, true), value(inner, true)};
        }
        if (type instanceof TaggedFields)
            return tags((TaggedFields) type, full);
        if (!full && type.isNullable())
            return null;
        switch (type.toString()) {
            case "BOOLEAN": return full;
            case "INT8": return (byte) counter;
            case "INT16": return (short) (counter * 7);
            case "INT32": return counter * 1000003;
            case "INT64": return counter * 1000000007L * (counter % 2 == 0 ? 1 : -1);
            case "FLOAT64": return counter / 7.0;
            case "UUID": return new Uuid(counter * 1000000007L, counter);
            case "STRING": case "COMPACT_STRING": case "NULLABLE_STRING": case "COMPACT_NULLABLE_STRING":
                return full ? "text-" + counter : "";
            case "BYTES": case "COMPACT_BYTES": case "NULLABLE_BYTES": case "COMPACT_NULLABLE_BYTES":
                return ByteBuffer.wrap(full ? ("bytes-" + counter).getBytes() : new byte[0]);
            case "RECORDS": case "COMPACT_RECORDS": case "NULLABLE_RECORDS": case "COMPACT_NULLABLE_RECORDS":
                return records(ByteBuffer.wrap(full ? ("records-" + counter).getBytes() : new byte[0]));
            default: throw new IllegalStateException("no sample for " + type);
        }
    }

    /** The class lives in one package in old releases, in another in new ones. */
    static Object records(ByteBuffer bytes) throws Exception {
        Class<?> kind;
        try {
            kind = Class.forName("org.apache.kafka.common.record.internal.MemoryRecords");
        } catch (ClassNotFoundException old) {
            kind = Class.forName("org.apache.kafka.common.record.MemoryRecords");
        }
        return kind.getMethod("readableRecords", ByteBuffer.class).invoke(null, bytes);
    }

    @SuppressWarnings("unchecked")
    static Map<Integer, Field> fieldsOf(TaggedFields tagged) throws Exception {
        java.lang.reflect.Field inner = TaggedFields.class.getDeclaredField("fields");
        inner.setAccessible(true);
        return (Map<Integer, Field>) inner.get(tagged);
    }

    static NavigableMap<Integer, Object> tags(TaggedFields fields, boolean full) throws Exception {
        NavigableMap<Integer, Object> map = new TreeMap<>();
        if (full)
            for (Map.Entry<Integer, Field> entry : fieldsOf(fields).entrySet())
                map.put(entry.getKey(), value(entry.getValue().type, true));
        return map;
    }

    static Struct struct(Schema schema, boolean full) throws Exception {
        Struct struct = new Struct(schema);
        for (BoundField field : schema.fields())
            struct.set(field, value(field.def.type, full));
        return struct;
    }

    static void print(String name, String kind, int version, Schema schema, boolean full) throws Exception {
        Struct struct = struct(schema, full);
        ByteBuffer buffer = ByteBuffer.allocate(struct.sizeOf());
        struct.writeTo(buffer);
        StringBuilder hex = new StringBuilder();
        for (byte b : buffer.array())
            hex.append(String.format("%02x", b));
        System.out.println(name + " " + kind + " " + version + " " + hex);
    }

    public static void main(String[] args) throws Exception {
        for (String arg : args) {
            String[] parts = arg.split("[:-]");
            StringBuilder camel = new StringBuilder();
            for (String word : parts[0].split("_"))
                camel.append(Character.toUpperCase(word.charAt(0))).append(word.substring(1));
            for (String kind : new String[] {"request", "response"}) {
                String data = "org.apache.kafka.common.message." + camel + (kind.equals("request") ? "Request" : "Response") + "Data";
                Schema[] schemas = (Schema[]) Class.forName(data).getField("SCHEMAS").get(null);
                for (int version = Integer.parseInt(parts[1]); version <= Integer.parseInt(parts[2]); version++) {
                    counter = 0;
                    print(parts[0], kind, version, schemas[version], true);
                    print(parts[0], kind, version, schemas[version], false);
                }
            }
        }
    }
}
